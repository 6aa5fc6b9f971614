//! Asks for a secret on the terminal, without echo. The terminal echoes again after a signal that ends the process.

use std::io;

use anyhow::Context;
use secrecy::SecretString;

/// Asks for a secret.
///
/// # Errors
/// Returns an error if there is no terminal.
pub(super) fn ask(what: &str) -> anyhow::Result<SecretString> {
    let text = read_hidden(&format!("{what} (not shown): "));
    Ok(text
        .with_context(|| format!("cannot ask for the {what}"))?
        .into())
}

#[cfg(not(unix))]
fn read_hidden(prompt: &str) -> io::Result<String> {
    rpassword::prompt_password(prompt)
}

/// Reads a line with the keys for editing of `rpassword`, which alone would leave the terminal without echo when a
/// signal ends the process, Ctrl-C included.
#[cfg(unix)]
fn read_hidden(prompt: &str) -> io::Result<String> {
    use std::io::Write;

    let mut echo = unix::Echo::turn_off()?;
    echo.terminal().write_all(prompt.as_bytes())?;
    // It changes a terminal only if it opens that itself.
    let config = rpassword::ConfigBuilder::new()
        .input_reader(echo.terminal().try_clone()?)
        .output_discard()
        .build();
    let text = rpassword::read_password_with_config(config);
    if matches!(&text, Err(error) if error.kind() == io::ErrorKind::Interrupted) {
        // Ctrl-C: it has sent the signal.
        echo.wait_for_end();
    }
    echo.terminal().write_all(b"\n")?;
    text
}

#[cfg(unix)]
mod unix {
    use std::{
        fs::{File, OpenOptions},
        io::{self, Write},
        process,
        sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
        thread::{self, JoinHandle},
    };

    use rustix::termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
    };
    use tokio::{
        runtime::{Builder, Runtime},
        signal::unix::{Signal, SignalKind, signal},
    };

    /// Added to the number of a signal for the exit code, as shells do.
    const SIGNAL_EXIT_CODE: i32 = 128;

    /// A terminal that does not echo until this is dropped, or a signal ends the process.
    pub(super) struct Echo {
        shared: Arc<Shared>,
        terminal: File,
        watch: Option<JoinHandle<()>>,
    }

    struct Shared {
        terminal: File,
        before: Termios,
        /// Held while the terminal is changed, and from a signal until the process ends.
        lock: Mutex<()>,
    }

    impl Echo {
        pub(super) fn turn_off() -> io::Result<Self> {
            let mut options = OpenOptions::new();
            options.read(true).write(true);
            let terminal = options.open("/dev/tty")?;
            let before = tcgetattr(&terminal)?;
            let shared = Arc::new(Shared {
                terminal: terminal.try_clone()?,
                before,
                lock: Mutex::new(()),
            });
            let watch = Some(shared.clone().restore_on_signal()?);
            shared.turn_off()?;
            Ok(Self {
                shared,
                terminal,
                watch,
            })
        }

        pub(super) fn terminal(&mut self) -> &mut File {
            &mut self.terminal
        }

        /// Waits until the thread that handles signals has ended the process.
        pub(super) fn wait_for_end(&mut self) {
            if let Some(watch) = self.watch.take() {
                _ = watch.join();
            }
        }
    }

    impl Drop for Echo {
        fn drop(&mut self) {
            let _changing = self.shared.lock();
            // An error means that the terminal is gone.
            _ = self.shared.restore();
        }
    }

    impl Shared {
        fn lock(&self) -> MutexGuard<'_, ()> {
            self.lock.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn turn_off(&self) -> io::Result<()> {
            let _changing = self.lock();
            let mut hidden = self.before.clone();
            // Signals of keys, too: a process that is stopped and goes on would find the echo on.
            hidden.local_modes -=
                LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
            hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
            hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
            Ok(tcsetattr(&self.terminal, OptionalActions::Now, &hidden)?)
        }

        fn restore(&self) -> io::Result<()> {
            Ok(tcsetattr(
                &self.terminal,
                OptionalActions::Now,
                &self.before,
            )?)
        }

        /// From now on, SIGINT and SIGTERM restore the terminal and end the process. The handlers stay until it ends:
        /// `tokio` cannot take one back, and without the thread later signals would have no effect.
        fn restore_on_signal(self: Arc<Self>) -> io::Result<JoinHandle<()>> {
            let (sender, receiver) = mpsc::sync_channel(1);
            let watch = thread::Builder::new().spawn(move || match Handlers::install() {
                Ok(handlers) => {
                    // The caller waits for it.
                    _ = sender.send(Ok(()));
                    let signal = handlers.wait();
                    let _until_the_end = self.lock();
                    _ = self.restore();
                    // The prompt has no line break yet.
                    _ = (&self.terminal).write_all(b"\n");
                    process::exit(SIGNAL_EXIT_CODE + signal.as_raw_value());
                }
                Err(error) => _ = sender.send(Err(error)),
            })?;
            receiver.recv().map_err(io::Error::other)??;
            Ok(watch)
        }
    }

    /// Handlers of signals, in a runtime of their own, because the thread of the other one waits for the terminal.
    struct Handlers {
        runtime: Runtime,
        interrupt: Signal,
        terminate: Signal,
    }

    impl Handlers {
        fn install() -> io::Result<Self> {
            let runtime = Builder::new_current_thread().enable_io().build()?;
            let entered = runtime.enter();
            let interrupt = signal(SignalKind::interrupt())?;
            let terminate = signal(SignalKind::terminate())?;
            drop(entered);
            Ok(Self {
                runtime,
                interrupt,
                terminate,
            })
        }

        fn wait(mut self) -> SignalKind {
            self.runtime.block_on(async {
                tokio::select! {
                    _ = self.interrupt.recv() => SignalKind::interrupt(),
                    _ = self.terminate.recv() => SignalKind::terminate(),
                }
            })
        }
    }
}
