//! Calls whose futures are dropped, as those of a task that was ended.

use super::*;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};
use tokio::sync::oneshot;

/// Begins a call and gives it up while it waits for the queue's thread.
async fn give_up<T>(call: impl Future<Output = T>) {
    assert!(pin!(call).poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_neither_kept_nor_done() {
    let world = World::new();
    let queue = world.queue();
    let (begins, has_begun) = oneshot::channel();
    let (ends, end) = mpsc::channel::<()>();
    let mut begins = Some(begins);
    let mut held_up = pin!(queue.database.read(move |_| {
        let _ = begins.take().map(|begins| begins.send(()));
        let _ = end.recv();
        Ok(())
    }));
    tokio::select! {
        _ = &mut held_up => panic!("it holds the thread up"),
        begun = has_begun => begun.unwrap(),
    }
    let content = Arc::new(());
    let kept = Arc::clone(&content);
    let write = queue.database.write(move |_| {
        drop(Arc::clone(&kept));
        Ok(())
    });
    give_up(write).await;
    assert_eq!(Arc::strong_count(&content), 1);
    give_up(queue.send(&[text("given up")])).await;
    drop(ends);
    held_up.await.unwrap();
    send(&queue, text("kept")).await;
    assert_eq!(bodies(&receive(&queue, 10).await), ["kept"]);
}
