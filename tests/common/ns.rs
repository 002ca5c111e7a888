//! One network namespace: a thread that lives in it, with a runtime of its own.

use std::any::Any;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, unshare};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// A network namespace. It ends when this is dropped, and with it all its tasks.
pub struct Ns {
    name: &'static str,
    /// The namespace's thread as the kernel knows it: `ip link ... netns ID`.
    pub id: u32,
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ns {
    /// A new namespace in which only `lo` is there, and up.
    pub fn new(name: &'static str) -> Self {
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let body = move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("unshare the network");
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            ready.send((thread_id(), runtime.handle().clone())).unwrap();
            // Everything of this namespace runs on this thread, or on one it makes.
            let _ = runtime.block_on(stopped);
        };
        let thread = thread::Builder::new()
            .name(format!("ns-{name}"))
            .spawn(body)
            .unwrap();
        let (id, handle) = started
            .recv()
            .unwrap_or_else(|_| panic!("no namespace {name}"));
        let ns = Self {
            name,
            id,
            handle,
            stop: Some(stop),
            thread: Some(thread),
        };
        ns.ip("link set lo up");
        ns
    }

    /// Runs `future` on the namespace's runtime and waits for it. Other tasks of the
    /// namespace go on meanwhile.
    pub fn block_on<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let (done, result) = mpsc::channel();
        let task = self.handle.spawn(future);
        self.handle.spawn(async move { done.send(task.await) });
        match result.recv().expect("the namespace is there") {
            Ok(value) => value,
            Err(error) => panic::resume_unwind(error.into_panic()),
        }
    }

    /// Starts `future` on the namespace's runtime, to end with it.
    pub fn spawn_task<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.handle.spawn(future)
    }

    /// Runs a blocking `call` on a thread within the namespace.
    pub fn run<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        // A thread that the namespace's own thread makes is in the namespace, too.
        self.handle.spawn(async move {
            thread::spawn(move || done.send(panic::catch_unwind(AssertUnwindSafe(call))))
        });
        let result: Result<T, Box<dyn Any + Send>> = result.recv().expect("the namespace is there");
        result.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    /// Starts a process within the namespace. It dies with the test at the latest.
    pub fn spawn(&self, mut command: Command) -> Child {
        self.run(move || {
            command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}"))
        })
    }

    /// Runs a process within the namespace and waits for its end.
    pub fn output(&self, mut command: Command) -> Output {
        command.stdin(Stdio::null());
        self.run(move || {
            command
                .output()
                .unwrap_or_else(|error| panic!("{command:?}: {error}"))
        })
    }

    /// Feeds lines of commands to `ip -batch`.
    pub fn ip(&self, commands: &str) {
        let mut command = Command::new("ip");
        command.args(["-batch", "-"]);
        self.feed(command, commands);
    }

    /// Feeds commands to `nft -f`.
    pub fn nft(&self, commands: &str) {
        let mut command = Command::new(super::world::tool("nft"));
        command.args(["-f", "-"]);
        self.feed(command, commands);
    }

    /// Sets a kernel parameter, named as in `sysctl.d`.
    pub fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let value = value.to_owned();
        self.run(move || {
            std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
        });
    }

    fn feed(&self, mut command: Command, input: &str) {
        let input = input.to_owned();
        let name = self.name;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = self.run(move || {
            let mut child = command
                .spawn()
                .unwrap_or_else(|error| panic!("{command:?}: {error}"));
            // Should the command end early, its exit status tells.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output().unwrap()
        });
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "in {name}: {error}");
    }
}

impl Drop for Ns {
    fn drop(&mut self) {
        // Closing the channel is the signal.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn thread_id() -> u32 {
    // PID/task/TID
    let path = std::fs::read_link("/proc/thread-self").unwrap();
    path.file_name().unwrap().to_str().unwrap().parse().unwrap()
}
