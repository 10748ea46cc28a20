//! What a child process writes, kept line by line.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::process::Child;
use tokio::sync::watch;

/// All lines of standard output and standard error so far.
#[derive(Clone, Debug)]
pub struct Logs {
    lines: Arc<Mutex<Vec<String>>>,
    count: watch::Receiver<usize>,
}

impl Logs {
    /// Reads the child's output from now on.
    pub(super) fn of(child: &mut Child) -> Self {
        let (sender, count) = watch::channel(0);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let out = child.stdout.take().and_then(|stream| stream.into_owned_fd().ok());
        let err = child.stderr.take().and_then(|stream| stream.into_owned_fd().ok());
        for stream in out.into_iter().chain(err) {
            let (lines, sender) = (Arc::clone(&lines), sender.clone());
            // A thread, so that the child can write while a test's runtime is busy or gone.
            std::thread::spawn(move || read(stream, &lines, &sender));
        }
        Self { lines, count }
    }

    /// Everything as one text.
    pub fn text(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Waits for a line that contains `part`, past or future; `None` when the output ends without one.
    pub async fn line(&self, part: &str) -> Option<String> {
        self.lines(part, 1).await
    }

    /// Waits for the line with which `count` lines contain `part`; `None` when the output ends before.
    pub async fn lines(&self, part: &str, count: usize) -> Option<String> {
        let mut news = self.count.clone();
        loop {
            news.borrow_and_update();
            let found = {
                let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.iter().filter(|line| line.contains(part)).nth(count.saturating_sub(1)).cloned()
            };
            match found {
                Some(line) => return Some(line),
                None => news.changed().await.ok()?,
            }
        }
    }
}

fn read(stream: OwnedFd, lines: &Mutex<Vec<String>>, count: &watch::Sender<usize>) {
    let mut stream = BufReader::new(File::from(stream));
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        count.send_modify(|count| *count += 1);
        line.clear();
    }
}
