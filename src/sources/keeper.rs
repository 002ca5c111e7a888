//! One task for each credential whose value may change.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::fetch::{Fetcher, Memory};
use crate::credential::{Cause, Fetched, Spec};
use crate::name::CredentialName;

/// The longest that one fetch may take.
pub const FETCH_TIME: Duration = Duration::from_secs(10);
/// A server that refuses every token makes the gateway get a new one only so often, and ever
/// less: each may be valid for an hour, and is looked for as long.
const FORCED_APART: Duration = Duration::from_secs(60);
const FORCED_APART_MOST: Duration = Duration::from_secs(1800);
/// After so long the first time is as the very first.
const FORCED_FORGOTTEN: Duration = Duration::from_secs(2 * 3600);
/// Between attempts that fail: at first, and at most.
const BACK_OFF: Duration = Duration::from_millis(250);
const BACK_OFF_MOST: Duration = Duration::from_secs(60);
/// A token is renewed when this part of its life is left, but not earlier than
/// [`MARGIN_MOST`] before its end.
const MARGIN_PART: u32 = 10;
const MARGIN_MOST: Duration = Duration::from_secs(300);
/// What a server says of a life is held to this, and the configuration's `refresh` to the most.
const APART_LEAST: Duration = Duration::from_secs(1);
const APART_MOST: Duration = Duration::from_secs(30 * 86_400);

/// What one attempt brought, and who it is for.
pub struct Attempt<'a> {
    /// The credential.
    pub spec: &'a Spec,
    /// Its value, or why there is none.
    pub fetched: Result<Fetched, Cause>,
}

/// Takes what attempts bring.
pub type Publish = Arc<dyn Fn(Attempt<'_>) + Send + Sync>;

/// All tasks.
pub struct Keeper {
    fetcher: Arc<Fetcher>,
    tasks: Mutex<HashMap<CredentialName, Task>>,
}

struct Task {
    spec: Arc<Spec>,
    handle: AbortHandle,
    wake: Arc<Notify>,
    /// How many attempts have ended.
    attempts: watch::Receiver<u64>,
    forced: Option<Forced>,
}

/// A renewal that a server's refusal led to, and how long no other may follow it.
#[derive(Clone, Copy)]
struct Forced {
    at: Instant,
    apart: Duration,
}

impl Forced {
    /// One more after `last`, unless that was a short while ago.
    fn after(last: Option<Self>, now: Instant) -> Option<Self> {
        let mut apart = FORCED_APART;
        if let Some(last) = last {
            let since = now.duration_since(last.at);
            if since < last.apart {
                return None;
            }
            if since < FORCED_FORGOTTEN {
                apart = (last.apart * 2).min(FORCED_APART_MOST);
            }
        }
        Some(Self { at: now, apart })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Keeper {
    /// Without any task.
    #[must_use]
    pub fn new(fetcher: Fetcher) -> Self {
        Self {
            fetcher: Arc::new(fetcher),
            tasks: Mutex::default(),
        }
    }

    /// Has a task for each of `specs` and for no other. Those that go on look at their source
    /// at once.
    pub fn keep<'a>(&self, specs: impl Iterator<Item = &'a Arc<Spec>>, publish: &Publish) {
        let mut tasks = self.tasks.lock();
        let mut before = std::mem::take(&mut *tasks);
        for spec in specs.filter(|spec| changes(spec)) {
            let task = match before.remove(&spec.name) {
                Some(task) if task.spec == *spec && !task.handle.is_finished() => {
                    task.wake.notify_one();
                    task
                }
                Some(_) | None => self.start(spec, publish),
            };
            tasks.insert(spec.name.clone(), task);
        }
    }

    /// Waits until an attempt has ended, at most [`FETCH_TIME`]: the first, or where that is
    /// over, one more.
    pub async fn attempted(&self, name: &CredentialName) {
        let attempts = self.tasks.lock().get(name).map(|task| {
            let mut attempts = task.attempts.clone();
            if *attempts.borrow_and_update() > 0 {
                task.wake.notify_one();
            }
            attempts
        });
        if let Some(mut attempts) = attempts {
            let _ = timeout(FETCH_TIME, attempts.changed()).await;
        }
    }

    /// Gets a new value now, because a server refused the one there is; waits for it at most
    /// [`FETCH_TIME`]. Does nothing where that was done a short while ago.
    pub async fn renew(&self, name: &CredentialName) {
        let attempts = self.tasks.lock().get_mut(name).and_then(|task| {
            task.forced = Some(Forced::after(task.forced, Instant::now())?);
            let mut attempts = task.attempts.clone();
            attempts.mark_unchanged();
            task.wake.notify_one();
            Some(attempts)
        });
        if let Some(mut attempts) = attempts {
            let _ = timeout(FETCH_TIME, attempts.changed()).await;
        }
    }

    fn start(&self, spec: &Arc<Spec>, publish: &Publish) -> Task {
        let (count, attempts) = watch::channel(0);
        let wake = Arc::new(Notify::new());
        let keeping = keep(
            Arc::clone(&self.fetcher),
            Arc::clone(spec),
            Arc::clone(publish),
            Arc::clone(&wake),
            count,
        );
        Task {
            spec: Arc::clone(spec),
            handle: tokio::spawn(keeping).abort_handle(),
            wake,
            attempts,
            forced: None,
        }
    }
}

/// Whether a value can become another while the gateway runs: its environment cannot.
fn changes(spec: &Spec) -> bool {
    spec.is_fetched() || spec.watched_files().next().is_some()
}

async fn keep(
    fetcher: Arc<Fetcher>,
    spec: Arc<Spec>,
    publish: Publish,
    wake: Arc<Notify>,
    attempts: watch::Sender<u64>,
) {
    let mut memory = Memory::default();
    let mut back_off = BackOff::new(spec.refresh);
    let mut pause = spec.refresh;
    loop {
        let fetched = match timeout(FETCH_TIME, fetcher.fetch(&spec, &mut memory)).await {
            Ok(fetched) => fetched,
            Err(_) => Some(Err(too_slow())),
        };
        // Its life began then, however long it takes to put it in force.
        let at = Instant::now();
        if let Some(fetched) = fetched {
            pause = match &fetched {
                Ok(fetched) => {
                    back_off.reset();
                    let next = until_next(spec.refresh, fetched.lifetime);
                    // Somebody else puts a new file there, at any time.
                    let is_file = spec.mint.is_none() && spec.watched_files().next().is_some();
                    if is_file {
                        next.min(spec.refresh)
                    } else {
                        next
                    }
                }
                Err(_) => back_off.next(),
            };
            publish(Attempt {
                spec: &spec,
                fetched,
            });
        }
        attempts.send_modify(|count| *count += 1);
        tokio::select! {
            () = sleep_until(at + jittered(pause.min(APART_MOST))) => {}
            () = wake.notified() => {}
        }
    }
}

pub(super) fn too_slow() -> Cause {
    Cause::Fetch {
        brief: "its source does not answer".to_owned(),
        detail: format!("its source did not answer within {FETCH_TIME:?}: see whether it is up"),
    }
}

/// What has a life is fetched again shortly before its end, all else every so often.
fn until_next(refresh: Duration, lifetime: Option<Duration>) -> Duration {
    match lifetime {
        Some(lifetime) => {
            let margin = (lifetime / MARGIN_PART).min(MARGIN_MOST);
            let next = lifetime.saturating_sub(margin);
            next.clamp(APART_LEAST, APART_MOST)
        }
        None => refresh,
    }
}

/// Up to a tenth less, so that not all gateways ask at once.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness they ask at once, which is no reason to fail.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    pause.saturating_sub(pause / 2560 * u32::from(byte[0]))
}

/// Doubles from failure to failure.
struct BackOff {
    next: Duration,
    most: Duration,
}

impl BackOff {
    /// What is looked at often is looked at often also after failures.
    fn new(refresh: Duration) -> Self {
        Self {
            next: BACK_OFF,
            most: refresh.clamp(Duration::from_secs(1), BACK_OFF_MOST),
        }
    }

    fn next(&mut self) -> Duration {
        let pause = self.next.min(self.most);
        self.next = pause * 2;
        pause
    }

    fn reset(&mut self) {
        self.next = BACK_OFF;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_refuses_every_token_gets_ever_fewer() {
        let begun = Instant::now();
        let (mut last, mut times) = (None, Vec::new());
        for minute in 0..240 {
            let now = begun + Duration::from_secs(minute * 60);
            if let Some(forced) = Forced::after(last, now) {
                last = Some(forced);
                times.push(minute);
            }
        }
        assert_eq!(times, [0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181, 211]);
        let later = begun + Duration::from_secs(400 * 60);
        assert_eq!(Forced::after(last, later).unwrap().apart, FORCED_APART);
    }

    #[test]
    fn pauses() {
        let seconds = Duration::from_secs;
        assert_eq!(until_next(seconds(60), None), seconds(60));
        assert_eq!(until_next(seconds(60), Some(seconds(3600))), seconds(3300));
        assert_eq!(until_next(seconds(60), Some(seconds(100))), seconds(90));
        assert_eq!(until_next(seconds(60), Some(Duration::ZERO)), seconds(1));
        assert_eq!(until_next(seconds(60), Some(Duration::MAX)), APART_MOST);
        for pause in [Duration::ZERO, Duration::MAX] {
            assert!((0..100).all(|_| jittered(pause) <= pause));
        }
        let mut back_off = BackOff::new(seconds(300));
        let pauses: Vec<_> = (0..10).map(|_| back_off.next().as_millis()).collect();
        assert_eq!(
            pauses,
            [
                250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000
            ]
        );
        back_off.reset();
        assert_eq!(back_off.next(), BACK_OFF);
        for _ in 0..100 {
            let pause = jittered(seconds(100));
            assert!(pause <= seconds(100) && pause > seconds(89));
        }
    }
}
