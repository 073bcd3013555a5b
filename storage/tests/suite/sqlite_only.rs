//! What only SQLite could get wrong: its files, its log, and the writer thread.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::*;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

fn place(dir: &tempfile::TempDir) -> (PathBuf, String) {
    let file = dir.path().join("new/brotr.db");
    let url = format!("sqlite://{}", file.display());
    (file, url)
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", file.display()))
}

pub(crate) async fn files_are_private() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, url) = place(&dir);
    let archive = open(&url, Options::default()).await.expect("opened");
    archive.store(batch(vec![event("private", vec![], 1)])).await.expect("stored");
    let files = ["", "-wal", "-shm", ".lock"].map(|suffix| beside(&file, suffix));
    let all = || files.iter().map(|file| mode(file)).collect::<Vec<_>>();
    assert_eq!((mode(file.parent().expect("a directory")), all()), (0o700, vec![0o600; 4]));
    let backup = dir.path().join("backup");
    archive.backup(&backup).await.expect("written");
    assert_eq!(mode(&backup), 0o600);
    // As an older version left them, while a reader keeps the log there.
    let reader = Held::begin(&url, "begin; select count(*) from event");
    archive.close().await;
    for file in &files {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).expect("set");
    }
    let archive = open(&url, Options::default()).await.expect("opened again");
    assert_eq!(all(), [0o600; 4]);
    drop(reader);
    archive.close().await;
    // And a backup that was copied about.
    std::fs::set_permissions(&backup, std::fs::Permissions::from_mode(0o644)).expect("set");
    let restored = dir.path().join("restored/brotr.db");
    restore(&format!("sqlite://{}", restored.display()), &backup).await.expect("restored");
    assert_eq!((mode(&restored), mode(restored.parent().expect("a directory"))), (0o600, 0o700));
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) async fn the_log_is_truncated_when_idle() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, url) = place(&dir);
    let archive = open(&url, Options::default()).await.expect("opened");
    let log = beside(&file, "-wal");
    let length = || log.metadata().map_or(0, |log| log.len());
    let store = async |at: i64| {
        let text: String =
            (0..100_000_i64).map(|i| char::from(b'a' + u8::try_from(i * i % 25 + at % 2).expect("small"))).collect();
        let events = (0..40).map(|i| event(&format!("{text}{i}"), vec![vec!["x", &text]], at)).collect();
        archive.store(batch(events)).await.expect("stored");
    };
    for at in 0..10 {
        store(at).await;
    }
    assert!(length() > 1 << 20, "the log is used: {}", length());
    until("the log is emptied", || length() == 0).await;
    // A reader that goes on reading keeps it, and is not kept from reading.
    let reader = Held::begin(&url, "begin; select count(*) from event");
    for at in 10..20 {
        store(at).await;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(length() > 1 << 20);
    drop(reader);
    until("the log is emptied", || length() == 0).await;
    assert_eq!(archive.stats().await.expect("stats").events, 800);
    archive.close().await;
}

/// The writer announces what it stored although the caller that sent it is gone.
pub(crate) async fn readers_are_told_of_events_whose_sender_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let archive = open_empty(&format!("sqlite://{}", dir.path().join("brotr.db").display())).await;
    let mut new = archive.new_events();
    let prepared = vec![archive.preparer().prepare(event("a", vec![], 1))];
    let mut storing = archive.store(Batch { prepared, ..batch(vec![]) });
    // Its first poll queues it.
    assert!(futures::poll!(&mut storing).is_pending());
    drop(storing);
    tokio::time::timeout(std::time::Duration::from_secs(20), new.wait()).await.expect("told");
    assert_eq!(archive.stored_after(0, 10).await.expect("read").len(), 1);
}

pub(crate) async fn a_panic_fails_one_batch_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, url) = place(&dir);
    let archive = open(&url, Options::default()).await.expect("opened");
    archive.store(batch(vec![event("before", vec![], 1)])).await.expect("stored");
    // There is no number after the last one: in a debug build that is a panic.
    shell(&url, &format!("update archive set last_k = {}", i64::MAX));
    let error = archive.store(batch(vec![event("lost", vec![], 2)])).await.expect_err("a bug").to_string();
    assert!(error.contains("bug in brotr"), "{error}");
    shell(&url, "update archive set last_k = 1");
    archive.store(batch(vec![event("after", vec![], 3)])).await.expect("stored");
    archive.set_state("a", "b", "c", "d").await.expect("set");
    assert_eq!(archive.stats().await.expect("stats").events, 2);
    exact::exact(&archive).await;
    archive.close().await;
}

pub(crate) async fn a_lock_of_another_process_blocks_no_worker_thread() {
    // With one worker, one that is blocked is noticed.
    let on_one_worker = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a runtime").block_on(others_go_on_while_a_lock_is_held());
    };
    tokio::task::spawn_blocking(on_one_worker).await.expect("no panic");
}

async fn others_go_on_while_a_lock_is_held() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, url) = place(&dir);
    let archive = open(&url, Options::default()).await.expect("opened");
    let locked = Held::begin(&url, "begin immediate");
    let mut tasks = tokio::task::JoinSet::new();
    let writer = archive.clone();
    tasks.spawn(async move { writer.set_state("a", "b", "c", "d").await.expect("set") });
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The only worker of the runtime is free for others meanwhile.
    let mut others = tokio::task::JoinSet::new();
    others.spawn(async { 1 });
    let other = tokio::time::timeout(Duration::from_secs(5), others.join_next()).await;
    assert_eq!(other.expect("not kept waiting").expect("there").expect("no panic"), 1);
    assert!(tasks.try_join_next().is_none(), "it still waits for the lock");
    drop(locked);
    tasks.join_next().await.expect("there").expect("no panic");
    archive.close().await;
}
