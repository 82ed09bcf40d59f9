//! A folder for files that programs in a lab need.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Error;

/// A temporary folder that goes with this value, and also when this process is killed.
pub struct Scratch {
    folder: PathBuf,
    watcher: Child,
}

/// Reads until nobody can write any more, that is until we closed the pipe or are gone, then removes.
const WATCH: &str = r#"cat >/dev/null; rm -rf -- "$1""#;

impl Scratch {
    /// Makes an empty folder.
    ///
    /// # Errors
    ///
    /// If there is no room for one.
    pub fn new() -> Result<Scratch, Error> {
        let make = || {
            let folder = tempfile::Builder::new().prefix("lbd-lab-").tempdir()?;
            let watcher = Command::new("sh")
                .args(["-c", WATCH, "sh"])
                .arg(folder.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                // Out of our process group: a Ctrl-C on the terminal must not reach it.
                .process_group(0)
                .spawn()?;
            Ok::<_, io::Error>(Scratch {
                folder: folder.keep(),
                watcher,
            })
        };
        make().map_err(Error::io("make a temporary folder"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Writes a file into it.
    ///
    /// # Errors
    ///
    /// If the disk is full.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        std::fs::write(&path, content).map_err(Error::io(format!("write {}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        // It cannot be helped if the watcher was killed: the folder stays then.
        let _ = self.watcher.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_folder_is_gone_with_its_files() {
        let scratch = Scratch::new().expect("a folder");
        let file = scratch.write("note", "text").expect("a file");
        assert!(file.exists());
        let folder = scratch.path().to_owned();
        drop(scratch);
        assert!(!folder.exists());
    }
}
