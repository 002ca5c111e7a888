//! An interactive shell outside, a jail in its foreground, and the keys of its user.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use crate::common::events::Events;
use crate::jail::{Jail, installed};

/// A user's shell under a pseudo-terminal.
struct Shell {
    process: Child,
    keys: ChildStdin,
    output: Events<u8>,
    seen: usize,
}

impl Shell {
    fn start(jail: &Jail) -> Self {
        let exec = jail.command(&[]);
        let words: Vec<String> = std::iter::once(exec.get_program())
            .chain(exec.get_args())
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        for (name, prompt) in [("outer", "OUTER "), ("inner", "INNER ")] {
            let file = jail.path(&format!("work/{name}.rc"));
            std::fs::write(
                file,
                format!("PS1='{prompt}'\nbind 'set enable-bracketed-paste off'\n"),
            )
            .unwrap();
        }
        // Whoever runs the tests in the background may have these ignored, and shells keep that.
        let mut command = Command::new("env");
        command
            .args(["--default-signal=INT,QUIT", "script"])
            .args(["-qec", "bash --rcfile outer.rc -i", "/dev/null"])
            .env("JAIL", words.join(" "))
            .env("TERM", "dumb")
            .current_dir(jail.path("work"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        for (name, value) in exec.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let mut process = command.spawn().unwrap();
        let output = Events::new();
        let (sink, mut stream) = (output.clone(), process.stdout.take().unwrap());
        thread::spawn(move || {
            let mut byte = [0];
            while matches!(stream.read(&mut byte), Ok(1)) {
                sink.push(byte[0]);
            }
            sink.end();
        });
        let keys = process.stdin.take().unwrap();
        let mut shell = Self {
            process,
            keys,
            output,
            seen: 0,
        };
        shell.wait("OUTER ");
        shell
    }

    fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits for text after all that was waited for before; returns what came before it.
    fn wait(&mut self, text: &str) -> String {
        let seen = self.seen;
        let found = |bytes: &[u8]| {
            let rest = &bytes[seen..];
            let at = rest
                .windows(text.len())
                .position(|part| part == text.as_bytes())?;
            Some((
                seen + at + text.len(),
                String::from_utf8_lossy(&rest[..at]).into_owned(),
            ))
        };
        let (seen, before) = self.output.wait(found).unwrap_or_else(|| {
            let all = self.output.all();
            panic!("no {text:?} in {}", String::from_utf8_lossy(&all[seen..]))
        });
        self.seen = seen;
        before
    }

    /// The exit code of what ran last, by the outer or an inner shell.
    fn code(&mut self) -> String {
        self.keys("echo co''de=$?.\n");
        self.wait("code=");
        self.wait(".")
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says `up`, and `again` when it is continued: only then does it have the terminal, and what
/// is typed before goes to the shell. Signals come in pairs at times, and `print` in a handler
/// that interrupts a `print` is an error in Python: so it writes by itself.
fn write_waiting(jail: &Jail) {
    let script = "import os\nfrom signal import *\n\
        signal(SIGINT, SIG_DFL)\n\
        signal(SIGCONT, lambda *_: os.write(1, b'again\\n'))\n\
        os.write(1, b'up\\n')\nwhile True: pause()\n";
    std::fs::write(jail.path("work/waiting.py"), script).unwrap();
}

#[test]
fn a_command_in_the_foreground() {
    let Some(jail) = Jail::new() else { return };
    if !installed("script") {
        return;
    }
    let mut shell = Shell::start(&jail);
    // Ctrl-C.
    shell.keys("eval $JAIL sh -c \"'echo u''p; exec sleep 1000'\"\n");
    shell.wait("up\r\n");
    shell.keys("\x03");
    shell.wait("OUTER ");
    assert_eq!(shell.code(), "130");
    // Ctrl-Z, fg, Ctrl-C.
    write_waiting(&jail);
    shell.keys("eval $JAIL python3 waiting.py\n");
    shell.wait("up\r\n");
    shell.keys("\x1a");
    shell.wait("Stopped");
    shell.keys("jobs; fg\n");
    shell.wait("Stopped");
    shell.wait("again\r\n");
    shell.keys("\x03");
    shell.wait("OUTER ");
    assert_eq!(shell.code(), "130");
    // In a pipeline, and its code.
    shell.keys("eval $JAIL sh -c \"'echo one-two; exit 4'\" | tr - _; echo ${PIPESTATUS[0]}.\n");
    shell.wait("one_two");
    shell.wait("4.");
}

#[test]
fn an_interactive_shell_with_jobs_of_its_own() {
    let Some(jail) = Jail::new() else { return };
    if !installed("script") {
        return;
    }
    let mut shell = Shell::start(&jail);
    shell.keys("eval $JAIL bash --rcfile inner.rc -i\n");
    shell.wait("INNER ");
    shell.keys("sh -c 'echo u\"\"p; exec sleep 1000'\n");
    shell.wait("up\r\n");
    shell.keys("\x03");
    shell.wait("INNER ");
    assert_eq!(shell.code(), "130");
    write_waiting(&jail);
    shell.keys("python3 waiting.py\n");
    shell.wait("up\r\n");
    shell.keys("\x1a");
    shell.wait("Stopped");
    shell.keys("fg\n");
    shell.wait("again\r\n");
    shell.keys("\x03");
    shell.wait("INNER ");
    assert_eq!(shell.code(), "130");
    shell.keys("tt''y; exit 6\n");
    shell.wait("/dev/");
    shell.wait("OUTER ");
    assert_eq!(shell.code(), "6");
    // The terminal is the outer shell's again.
    shell.keys("sh -c 'echo u\"\"p; exec sleep 1000'\n");
    shell.wait("up\r\n");
    shell.keys("\x03");
    shell.wait("OUTER ");
    assert_eq!(shell.code(), "130");
}

#[test]
fn a_resize_is_told_to_the_command() {
    let Some(jail) = Jail::new() else { return };
    if !installed("script") {
        return;
    }
    let mut shell = Shell::start(&jail);
    shell.keys("echo =$(tty)=\n");
    shell.wait("=/dev");
    let terminal = format!("/dev{}", shell.wait("="));
    let script = "import os, signal, sys\n\
        def told(*_):\n os.write(1, repr(os.get_terminal_size()).encode() + b'\\n')\n os.get_terminal_size().columns == 77 and sys.exit(5)\n\
        signal.signal(signal.SIGWINCH, told)\nos.write(1, b'ready\\n')\nwhile True: signal.pause()\n";
    std::fs::write(jail.path("work/resize.py"), script).unwrap();
    shell.keys("eval $JAIL python3 resize.py\n");
    shell.wait("ready");
    let resized = Command::new("stty")
        .args(["-F", &terminal, "rows", "33", "cols", "77"])
        .status()
        .unwrap();
    assert!(resized.success());
    shell.wait("columns=77, lines=33");
    shell.wait("OUTER ");
    assert_eq!(shell.code(), "5");
}

#[test]
fn nothing_is_typed_into_the_outer_shell() {
    let Some(jail) = Jail::new() else { return };
    let allowed = std::fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti");
    if allowed.is_ok_and(|allowed| allowed.trim() == "0") {
        println!("skipped: the kernel does not let anybody type (dev.tty.legacy_tiocsti)");
        return;
    }
    if !installed("script") {
        return;
    }
    let mut shell = Shell::start(&jail);
    let script =
        "import fcntl\nfor key in b\"echo ty''ped\\n\":\n fcntl.ioctl(0, 0x5412, bytes([key]))\n";
    std::fs::write(jail.path("work/keys.py"), script).unwrap();
    // Without a jail the shell takes them for its user's.
    shell.keys("python3 keys.py\n");
    shell.wait("typed\r\n");
    shell.keys("eval $JAIL python3 keys.py; echo ended''=$?.\n");
    let before = shell.wait("ended=");
    assert!(before.contains("PermissionError"), "{before}");
    shell.keys("echo la''st\n");
    let before = shell.wait("last\r\n");
    assert!(!before.contains("ty"), "{before}");
}
