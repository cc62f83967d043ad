//! Tasks that end together, in time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A set of tasks that run until they are told to stop. One that does not stop in time is dropped where it waits.
#[derive(Debug, Default)]
pub(super) struct Stage {
    pub(super) stop: CancellationToken,
    abandon: CancellationToken,
    tasks: TaskTracker,
}

impl Stage {
    pub(super) fn run<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce(CancellationToken) -> F) {
        let (task, abandon) = (task(self.stop.clone()), self.abandon.clone());
        self.tasks.spawn(async move { abandon.run_until_cancelled(task).await.unwrap_or_default() });
    }

    /// Tells all to stop, and returns when none is left: after `within` and a moment at the latest.
    pub(super) async fn end(&self, within: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(within, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                tasks = self.tasks.len(),
                "tasks did not end when told to, and are dropped; is the database up?"
            );
            self.abandon.cancel();
            self.tasks.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_does_not_end_is_dropped_when_its_time_is_over() {
        let (stage, (held, dropped)) = (Stage::default(), tokio::sync::oneshot::channel::<()>());
        stage.run(|_| async move {
            let _held = held;
            std::future::pending().await
        });
        stage.end(Duration::ZERO).await;
        dropped.await.expect_err("the task is gone, and what it held with it");
    }

    #[tokio::test]
    async fn a_task_that_ends_in_time_comes_to_its_end() {
        let (stage, (said, hears)) = (Stage::default(), tokio::sync::oneshot::channel());
        stage.run(|stop| async move {
            stop.cancelled().await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            said.send(()).expect("the test listens");
        });
        stage.end(Duration::from_secs(60)).await;
        hears.await.expect("the task came to its end");
    }
}
