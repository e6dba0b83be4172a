//! Calls that wait for a queue's thread, and calls whose futures are dropped, as happens when a task ends.

use super::*;
use crate::give_up;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};
use tokio::sync::oneshot;

/// Keeps the queue's thread busy until a value is sent. The value says whether the thread then panics.
async fn hold_up(
    queue: &Arc<SqliteQueue>,
) -> (tokio::task::JoinHandle<Result<(), QueueError>>, mpsc::Sender<bool>) {
    let (begins, has_begun) = oneshot::channel();
    let (ends, end) = mpsc::channel::<bool>();
    let (queue, mut begins) = (Arc::clone(queue), Some(begins));
    let held_up = tokio::spawn(async move {
        let work = move |_: &Transaction<'_>| {
            let _ = begins.take().map(|begins| begins.send(()));
            assert!(!end.recv().unwrap(), "a defect");
            Ok(())
        };
        queue.database.read(work).await
    });
    has_begun.await.unwrap();
    (held_up, ends)
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_neither_kept_nor_done() {
    let world = World::new();
    let queue = Arc::new(world.queue());
    let (held_up, ends) = hold_up(&queue).await;
    let content = Arc::new(());
    let kept = Arc::clone(&content);
    give_up(queue.database.write(move |_| {
        drop(Arc::clone(&kept));
        Ok(())
    }));
    assert_eq!(Arc::strong_count(&content), 1);
    give_up(queue.send(&[text("given up")]));
    ends.send(false).unwrap();
    held_up.await.unwrap().unwrap();
    send(&queue, text("kept")).await;
    assert_eq!(bodies(&receive(&queue, 10).await), ["kept"]);
}

#[tokio::test]
async fn who_waits_for_a_thread_that_panics_is_told() {
    let world = World::new();
    let queue = Arc::new(world.queue());
    let (held_up, ends) = hold_up(&queue).await;
    let mut next = pin!(queue.database.read(|_| Ok(())));
    assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    ends.send(true).unwrap();
    let told = tokio::time::timeout(Duration::from_secs(60), next).await.unwrap();
    assert!(matches!(told, Err(QueueError::Unusable(_))), "{told:?}");
    assert!(held_up.await.unwrap().is_err());
}
