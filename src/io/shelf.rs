//! The shelf: profiles that were taken, as files in one folder, so that `go tool pprof` can open them after the pod is
//! gone. When it is full, the oldest go. It reads nothing out of them.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use tokio::{fs, io::AsyncWriteExt};

/// What a file is called while it is written.
const UNFINISHED: &str = ".part";

/// A folder of profiles with a limit.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
    limit: u64,
}

/// A profile on the shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub name: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// When it was stored.
    pub at: SystemTime,
}

impl Shelf {
    /// A shelf in a folder, which is made if it is not there, for so many bytes in all. What a crash left unfinished is
    /// thrown away.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub async fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        fs::create_dir_all(folder).await?;
        let mut entries = fs::read_dir(folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
                fs::remove_file(entry.path()).await?;
            }
        }
        Ok(Self { folder: folder.to_owned(), limit })
    }

    /// Stores a profile and makes room for it. When this returns, it is on the disk.
    ///
    /// # Errors
    /// It cannot be written, is larger than the shelf, or has a name that no profile may have.
    pub async fn keep(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if !is_name(name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name for a profile")));
        }
        if bytes.len() as u64 > self.limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the profile is larger than the shelf"));
        }
        self.make_room(bytes.len() as u64).await?;
        let unfinished = self.folder.join(format!("{name}{UNFINISHED}"));
        let mut file = fs::File::create(&unfinished).await?;
        file.write_all(bytes).await?;
        file.sync_all().await?;
        fs::rename(&unfinished, self.folder.join(name)).await?;
        fs::File::open(&self.folder).await?.sync_all().await
    }

    /// What is there, the newest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn list(&self) -> io::Result<Vec<Stored>> {
        let mut stored = Vec::new();
        let mut entries = fs::read_dir(&self.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let about = entry.metadata().await?;
            if about.is_file() && is_name(&name) {
                stored.push(Stored { name, bytes: about.len(), at: about.modified()? });
            }
        }
        stored.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| b.name.cmp(&a.name)));
        Ok(stored)
    }

    /// The names of what is there. Nothing, if the folder cannot be read.
    pub async fn names(&self) -> BTreeSet<String> {
        self.list().await.unwrap_or_default().into_iter().map(|it| it.name).collect()
    }

    /// A profile. `None` if there is none of that name.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub async fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        if !is_name(name) {
            return Ok(None);
        }
        match fs::read(self.folder.join(name)).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn make_room(&self, bytes: u64) -> io::Result<()> {
        let mut stored = self.list().await?;
        let mut taken: u64 = stored.iter().map(|it| it.bytes).sum();
        while taken + bytes > self.limit {
            let Some(oldest) = stored.pop() else { break };
            fs::remove_file(self.folder.join(&oldest.name)).await?;
            taken -= oldest.bytes;
        }
        Ok(())
    }
}

/// Names of pods and containers, a time and an ending: nothing that leads out of the folder.
fn is_name(name: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
    !name.starts_with('.') && name.len() <= 255 && name.ends_with(".pb.gz") && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shelf that is empty, whatever an earlier run left.
    async fn shelf(test: &str, limit: u64) -> Shelf {
        let folder = std::env::temp_dir().join(format!("grpc-hygiene-shelf-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Shelf::open(&folder, limit).await.expect("a shelf")
    }

    #[tokio::test]
    async fn the_oldest_make_room_for_the_newest() {
        let shelf = shelf("oldest", 10).await;
        for name in ["a.pb.gz", "b.pb.gz", "c.pb.gz"] {
            shelf.keep(name, b"1234").await.expect("stored");
        }
        assert_eq!(shelf.names().await, BTreeSet::from(["b.pb.gz".to_owned(), "c.pb.gz".to_owned()]));
        assert_eq!(shelf.read("c.pb.gz").await.expect("read").as_deref(), Some(b"1234".as_slice()));
        assert_eq!(shelf.read("a.pb.gz").await.expect("read"), None);
    }

    #[tokio::test]
    async fn what_is_larger_than_the_shelf_is_refused_and_throws_nothing_away() {
        let shelf = shelf("large", 10).await;
        shelf.keep("a.pb.gz", b"1234").await.expect("stored");
        shelf.keep("b.pb.gz", &[0; 11]).await.expect_err("too large");
        assert!(shelf.names().await.contains("a.pb.gz"));
    }

    #[tokio::test]
    async fn no_name_leads_out_of_the_folder() {
        let shelf = shelf("names", 10).await;
        for name in ["../a.pb.gz", "/etc/a.pb.gz", ".a.pb.gz", "a/b.pb.gz", "a.txt", ""] {
            shelf.keep(name, b"1").await.expect_err(name);
            assert_eq!(shelf.read(name).await.expect("looked"), None, "{name}");
        }
    }

    #[tokio::test]
    async fn what_a_crash_left_unfinished_is_thrown_away() {
        let shelf = shelf("crash", 10).await;
        let unfinished = shelf.folder.join("a.pb.gz.part");
        std::fs::write(&unfinished, b"12").expect("written");
        assert!(shelf.names().await.is_empty(), "it does not count");
        Shelf::open(&shelf.folder, 10).await.expect("opened");
        assert!(!unfinished.exists());
    }
}
