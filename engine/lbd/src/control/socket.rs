//! The socket as a file: root's and the group's.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::unistd::Group;
use tokio::net::UnixListener;

/// Who may talk to the daemon besides root.
const GROUP: &str = "lbd";

/// Its owner and its group may connect; nobody else.
const MODE: u32 = 0o660;

/// A listening socket; its file goes with it.
pub struct ControlSocket {
    pub listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl ControlSocket {
    /// Listens at `path`. What an earlier daemon left there is replaced; one that still answers is not.
    pub fn bind(path: &Path) -> anyhow::Result<ControlSocket> {
        let place = path.display();
        refuse_to_replace(path)?;
        // Under another name until only those may connect who should, and until it listens.
        let unfinished = path.with_added_extension(std::process::id().to_string());
        let listener =
            UnixListener::bind(&unfinished).with_context(|| format!("cannot listen at {place}"))?;
        let finished = finish(&unfinished, path);
        if finished.is_err() {
            // Nobody knows of it.
            let _ = fs::remove_file(&unfinished);
        }
        Ok(ControlSocket {
            listener,
            path: path.to_owned(),
            inode: finished.with_context(|| format!("cannot listen at {place}"))?,
        })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let still_ours = fs::metadata(&self.path).is_ok_and(|file| file.ino() == self.inode);
        if still_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("{} is left behind: {error}", self.path.display());
        }
    }
}

fn refuse_to_replace(path: &Path) -> anyhow::Result<()> {
    let place = path.display();
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            bail!("control.socket: {place} exists and is not a socket")
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            bail!("control.socket: another lbd answers at {place}")
        }
        _ => Ok(()),
    }
}

/// Gives the socket its owner, its rights and its name; its inode.
fn finish(unfinished: &Path, path: &Path) -> io::Result<u64> {
    fs::set_permissions(unfinished, Permissions::from_mode(MODE))?;
    if let Some(group) = Group::from_name(GROUP)? {
        match chown(unfinished, None, Some(group.gid.as_raw())) {
            // Without root there may be no giving away, and the owner's own group stands.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            given => given?,
        }
    }
    let inode = fs::metadata(unfinished)?.ino();
    fs::rename(unfinished, path)?;
    Ok(inode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_is_left_behind_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");
        let first = ControlSocket::bind(&path).expect("a free place");
        let mode = fs::metadata(&path).expect("a socket").mode();
        assert_eq!(mode & 0o777, MODE);
        let refused = ControlSocket::bind(&path).map(drop).expect_err("taken");
        assert!(refused.to_string().contains("another lbd answers"));
        drop(first);
        assert!(!path.exists());

        drop(std::os::unix::net::UnixListener::bind(&path).expect("a place"));
        assert!(path.exists(), "what a killed daemon leaves");
        drop(ControlSocket::bind(&path).expect("nobody answers there"));

        fs::write(&path, "precious").expect("a file");
        let refused = ControlSocket::bind(&path).map(drop).expect_err("a file");
        assert!(refused.to_string().contains("is not a socket"));
        let missing = ControlSocket::bind(&path.join("s")).map(drop);
        assert!(missing.is_err());
    }
}
