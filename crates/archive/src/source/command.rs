//! The output of a command as a stream that ends in an error when the command fails.

use std::ffi::OsString;
use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::source::TargetError;

/// Reads what the command writes; the end of the stream is the command's success.
#[derive(Debug)]
pub(crate) struct CommandReader {
    output: ChildStdout,
    child: Arc<Mutex<Child>>,
    is_ended: bool,
}

/// Ends the command.
#[derive(Debug, Clone)]
pub(crate) struct CommandStopper(Arc<Mutex<Child>>);

impl CommandReader {
    /// Starts the command; its standard error is that of this process, its input is empty.
    pub(crate) fn start(command: &[OsString]) -> Result<Self, TargetError> {
        let program = command.first().cloned().unwrap_or_default();
        let error = |source| TargetError::Command {
            command: program.clone(),
            source,
        };
        let mut child = Command::new(&program)
            .args(command.iter().skip(1))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(error)?;
        let output = child
            .stdout
            .take()
            .ok_or_else(|| error(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self {
            output,
            child: Arc::new(Mutex::new(child)),
            is_ended: false,
        })
    }

    /// For ending the command from elsewhere, which ends the stream in an error.
    pub(crate) fn stopper(&self) -> CommandStopper {
        CommandStopper(Arc::clone(&self.child))
    }
}

impl CommandStopper {
    /// Kills the command if it is still running.
    pub(crate) fn stop(&self) {
        if let Err(error) = self.0.lock().kill() {
            tracing::debug!(%error, "the command has ended by itself");
        }
    }
}

impl Read for CommandReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.output.read(buffer)?;
        if bytes > 0 || buffer.is_empty() || self.is_ended {
            return Ok(bytes);
        }
        self.is_ended = true;
        let status = wait(&self.child)?;
        if status.success() {
            Ok(0)
        } else {
            Err(io::Error::other(format!("the command failed: {status}")))
        }
    }
}

/// Waits without holding the lock, so that the command can be stopped meanwhile.
fn wait(child: &Mutex<Child>) -> io::Result<std::process::ExitStatus> {
    loop {
        if let Some(status) = child.lock().try_wait()? {
            return Ok(status);
        }
        // The output is closed, so a command is about to end; only daemons close it and stay.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

impl Drop for CommandReader {
    fn drop(&mut self) {
        let mut child = self.child.lock();
        if matches!(child.try_wait(), Ok(None)) {
            // Both can only fail when the command has ended meanwhile.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
