//! One question, one answer: policies of the same shape ask the same queries at about the same time and share what
//! comes back, failures included. A success is kept for a moment, a failure never.
//!
//! The question runs in a task of its own, so that no asker who goes away takes the answer from the others.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::Shared};
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::oneshot, time::Instant};
use tracing::Instrument;

use super::failure::failure;
use crate::decide::{FailureKind, Matrix, QueryFailure};

/// Questions asked within this time of each other are the same question.
pub const SHARED_FOR: Duration = Duration::from_secs(5);
/// Answers are kept only while they hold fewer samples than this together: 32 MB, and half as much for their labels.
const MAX_KEPT_SAMPLES: usize = 2_000_000;

/// What a question comes to.
pub type Answer = Result<Arc<Matrix>, QueryFailure>;

/// The questions under way and just answered.
#[derive(Clone, Default)]
pub struct Flights(Arc<Mutex<Board>>);

#[derive(Default)]
struct Board {
    flights: Vec<Flight>,
    launched: u64,
    kept_samples: usize,
}

struct Flight {
    number: u64,
    query: String,
    at: Timestamp,
    answer: Shared<oneshot::Receiver<Answer>>,
}

impl Flights {
    /// The answer to this query at this time: that of an equal question of the last five seconds, or else of `ask`.
    /// A success is kept for `keep`.
    pub async fn share<F>(&self, query: &str, at: Timestamp, keep: Duration, ask: impl FnOnce() -> F) -> Answer
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let answer = self.join(query, at).unwrap_or_else(|| self.launch(query, at, keep, ask()));
        // The other end is dropped only when the task panicked or the process ends.
        answer.await.unwrap_or_else(|_| Err(failure(FailureKind::Unexpected, "the query was given up")))
    }

    fn join(&self, query: &str, at: Timestamp) -> Option<Shared<oneshot::Receiver<Answer>>> {
        let limit = SignedDuration::try_from(SHARED_FOR).unwrap_or(SignedDuration::ZERO);
        let near = |it: &&Flight| it.query == query && it.at.duration_since(at).abs() < limit;
        self.board().flights.iter().find(near).map(|it| it.answer.clone())
    }

    fn launch(
        &self,
        query: &str,
        at: Timestamp,
        keep: Duration,
        ask: impl Future<Output = Answer> + Send + 'static,
    ) -> Shared<oneshot::Receiver<Answer>> {
        let (tell, told) = oneshot::channel();
        let answer = told.shared();
        let number = self.board().add(query, at, answer.clone());
        let landing = self.clone();
        let fly = async move {
            let until = Instant::now() + keep;
            let answer = ask.await;
            let samples = answer.as_ref().ok().and_then(|it| landing.board().keep(it));
            // It fails when nobody waits any more; then nobody needs to be told.
            drop(tell.send(answer));
            if samples.is_some() {
                tokio::time::sleep_until(until).await;
            }
            landing.board().remove(number, samples.unwrap_or(0));
        };
        tokio::spawn(fly.in_current_span());
        answer
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn add(&mut self, query: &str, at: Timestamp, answer: Shared<oneshot::Receiver<Answer>>) -> u64 {
        self.launched += 1;
        self.flights.push(Flight { number: self.launched, query: query.to_owned(), at, answer });
        self.launched
    }

    /// Counts the samples of an answer that may be kept.
    fn keep(&mut self, matrix: &Matrix) -> Option<usize> {
        let samples = matrix.series.iter().map(|it| it.samples.len()).sum();
        let all = self.kept_samples + samples;
        if all > MAX_KEPT_SAMPLES {
            return None;
        }
        self.kept_samples = all;
        Some(samples)
    }

    fn remove(&mut self, number: u64, samples: usize) {
        self.kept_samples -= samples;
        self.flights.retain(|it| it.number != number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    async fn ask(flights: &Flights, query: &str, at: Timestamp, count: &Arc<AtomicUsize>, answer: Answer) -> Answer {
        let count = Arc::clone(count);
        flights
            .share(query, at, SHARED_FOR, || async move {
                count.fetch_add(1, SeqCst);
                tokio::task::yield_now().await;
                answer
            })
            .await
    }

    fn empty() -> Answer {
        Ok(Arc::new(Matrix::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn equal_questions_of_five_seconds_share_one_answer_and_later_ones_do_not() {
        let (flights, count) = (Flights::default(), Arc::default());
        let (a, b) = tokio::join!(ask(&flights, "x", AT, &count, empty()), ask(&flights, "x", AT, &count, empty()));
        assert!(Arc::ptr_eq(&a.expect("an answer"), &b.expect("an answer")));
        tokio::time::advance(Duration::from_secs(4)).await;
        ask(&flights, "x", AT + SignedDuration::from_secs(4), &count, empty()).await.expect("an answer");
        assert_eq!(count.load(SeqCst), 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(flights.board().flights.is_empty(), "nothing is kept for longer");
        ask(&flights, "x", AT, &count, empty()).await.expect("an answer");
        assert_eq!(count.load(SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn other_queries_and_other_times_are_other_questions() {
        let (flights, count) = (Flights::default(), Arc::default());
        for (query, at) in [("x", AT), ("y", AT), ("x", AT + SignedDuration::from_secs(5))] {
            ask(&flights, query, at, &count, empty()).await.expect("an answer");
        }
        assert_eq!(count.load(SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_all_who_wait_and_then_forgotten() {
        let (flights, count) = (Flights::default(), Arc::default());
        let failed = Err(failure(FailureKind::Overloaded, "busy"));
        let (a, b) =
            tokio::join!(ask(&flights, "x", AT, &count, failed.clone()), ask(&flights, "x", AT, &count, empty()));
        assert_eq!((a, b), (failed.clone(), failed));
        assert!(ask(&flights, "x", AT, &count, empty()).await.is_ok());
        assert_eq!(count.load(SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_asker_who_goes_away_does_not_take_the_answer_along() {
        let (flights, count) = (Flights::default(), Arc::default());
        let mut gone = Box::pin(ask(&flights, "x", AT, &count, empty()));
        assert!(futures::poll!(&mut gone).is_pending());
        drop(gone);
        ask(&flights, "x", AT, &count, empty()).await.expect("an answer");
        assert_eq!(count.load(SeqCst), 1);
    }

    #[test]
    fn answers_that_would_fill_the_memory_are_not_kept() {
        let sample = crate::decide::Sample { at: 0.0, value: 0.0 };
        let series =
            crate::decide::Series { samples: vec![sample; MAX_KEPT_SAMPLES / 2 + 1].into(), ..Default::default() };
        let large = Matrix { series: vec![series], warnings: Vec::new() };
        let mut board = Board::default();
        let kept = board.keep(&large).expect("the first is kept");
        assert_eq!(board.keep(&large), None);
        board.remove(0, kept);
        assert!(board.keep(&large).is_some());
    }
}
