//! Lines that arrive over time, and waiting for one of them.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::DEADLINE;

/// A growing list that any thread may wait on. Cloning shares it.
pub struct Events<T>(Arc<(Mutex<State<T>>, Condvar)>);

struct State<T> {
    seen: Vec<T>,
    ended: bool,
}

impl<T: Clone> Events<T> {
    pub fn new() -> Self {
        let state = State {
            seen: Vec::new(),
            ended: false,
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    pub fn push(&self, event: T) {
        self.change(|state| state.seen.push(event));
    }

    /// Changes what is seen so far in place: an event that goes on.
    pub fn update(&self, change: impl FnOnce(&mut Vec<T>)) {
        self.change(|state| change(&mut state.seen));
    }

    /// There will be no more: whoever waits stops waiting.
    pub fn end(&self) {
        self.change(|state| state.ended = true);
    }

    pub fn all(&self) -> Vec<T> {
        self.0.0.lock().unwrap().seen.clone()
    }

    pub fn len(&self) -> usize {
        self.0.0.lock().unwrap().seen.len()
    }

    /// Waits until `found` finds what it looks for in what was seen; `None` at the end of
    /// events or at the deadline.
    pub fn wait<R>(&self, mut found: impl FnMut(&[T]) -> Option<R>) -> Option<R> {
        let (state, changed) = &*self.0;
        let deadline = Instant::now() + DEADLINE;
        let mut state = state.lock().unwrap();
        loop {
            if let Some(result) = found(&state.seen) {
                return Some(result);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            state = changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits until there are `count` events and returns all there are then.
    pub fn wait_count(&self, count: usize) -> Vec<T>
    where
        T: fmt::Debug,
    {
        let enough = |seen: &[T]| (seen.len() >= count).then(|| seen.to_vec());
        self.wait(enough)
            .unwrap_or_else(|| panic!("waited for {count}, there are only {:#?}", self.all()))
    }

    /// Waits for the end of events.
    pub fn wait_end(&self) -> bool {
        let _: Option<()> = self.wait(|_| None);
        self.0.0.lock().unwrap().ended
    }

    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        let (state, changed) = &*self.0;
        change(&mut state.lock().unwrap());
        changed.notify_all();
    }
}

impl<T> Clone for Events<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
