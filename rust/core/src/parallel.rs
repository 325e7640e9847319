//! Work on documents in scoped threads, with an eye on the caller's wish to stop.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Asked now and then on the calling thread; `true` ends the call.
pub type Interrupted<'a> = &'a mut dyn FnMut() -> bool;

/// Below this many bytes a call is done before a thread would have started, or a user could press Ctrl-C.
const INLINE_BYTES: usize = 1 << 16;
/// A worker takes documents of about this many bytes at a time: long enough that the counter costs nothing,
/// short enough that the last worker does not keep the others waiting.
pub(crate) const RANGE_BYTES: usize = 1 << 18;
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Run `work` over consecutive ranges of `texts` on up to `num_threads` threads; results in order.
///
/// `start` gives a worker its state, `finish` takes it back. The first error (by range) ends the call.
pub(crate) fn for_each_range<S, R: Send>(
    texts: &[&str],
    num_threads: usize,
    interrupted: Interrupted<'_>,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, Range<usize>, &Cancel) -> Result<R> + Sync,
    finish: impl Fn(S) + Sync,
) -> Result<Vec<R>> {
    let num_bytes: usize = texts.iter().map(|text| text.len()).sum();
    if num_bytes <= INLINE_BYTES {
        let mut state = start();
        let result = work(&mut state, 0..texts.len(), &Cancel::default());
        finish(state);
        return result.map(|result| vec![result]);
    }
    // One worker needs no cut: its one result is the answer, without a copy.
    let range_bytes = if num_threads <= 1 { usize::MAX } else { RANGE_BYTES };
    let ranges = ranges(texts, range_bytes);
    let next = AtomicUsize::new(0);
    let next_range = |_: &Cancel| {
        let number = next.fetch_add(1, Ordering::Relaxed);
        Some((number, Ok(ranges.get(number)?.clone())))
    };
    let num_workers = num_threads.clamp(1, ranges.len().max(1));
    let work = |state: &mut S, _, range, cancel: &Cancel| work(state, range, cancel);
    for_each_job(num_workers, interrupted, next_range, start, work, finish)
}

/// Run `work` over jobs on up to `num_workers` threads; results in the order of their numbers.
///
/// `next_job` gives a worker its next job, with its number, or an error in place of it; `None` once there are no more.
/// `start` and `finish` as above.
pub(crate) fn for_each_job<S, J, R: Send>(
    num_workers: usize,
    interrupted: Interrupted<'_>,
    next_job: impl Fn(&Cancel) -> Option<(usize, Result<J>)> + Sync,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize, J, &Cancel) -> Result<R> + Sync,
    finish: impl Fn(S) + Sync,
) -> Result<Vec<R>> {
    let cancel = Cancel::default();
    let worker = || {
        let mut state = start();
        let mut results = Vec::new();
        while let Some((number, job)) = next_job(&cancel) {
            let result = cancel.check().and(job).and_then(|job| work(&mut state, number, job, &cancel));
            let failed = result.is_err();
            results.push((number, result));
            if failed {
                cancel.cancel();
                break;
            }
        }
        finish(state);
        results
    };

    let mut results = thread::scope(|scope| {
        // Never sent on: it closes when the last worker is gone, by its end or by a panic.
        let (alive, all_gone) = mpsc::channel::<()>();
        let workers: Vec<_> = (0..num_workers.max(1))
            .map(|_| {
                let alive = alive.clone();
                scope.spawn(|| {
                    let _alive = alive;
                    worker()
                })
            })
            .collect();
        drop(alive);
        while all_gone.recv_timeout(POLL_EVERY) == Err(RecvTimeoutError::Timeout) {
            if interrupted() {
                cancel.cancel();
            }
        }
        let mut results = Vec::new();
        for worker in workers {
            results.extend(worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        results
    });
    results.sort_unstable_by_key(|(number, _)| *number);
    // A worker stopped by another's error says `Cancelled`; the error itself is the one to tell.
    if let Some((_, Err(error))) =
        results.iter().find(|(_, result)| matches!(result, Err(error) if *error != Error::Cancelled))
    {
        return Err(error.clone());
    }
    results.into_iter().map(|(_, result)| result).collect()
}

/// Cut into ranges of at least `range_bytes`; the last one may be smaller.
fn ranges(texts: &[&str], range_bytes: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut num_bytes) = (0, 0);
    for (index, text) in texts.iter().enumerate() {
        num_bytes += text.len();
        if num_bytes >= range_bytes || index + 1 == texts.len() {
            ranges.push(start..index + 1);
            (start, num_bytes) = (index + 1, 0);
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// Enough bytes to leave the calling thread.
    fn texts(count: usize) -> Vec<String> {
        (0..count).map(|number| number.to_string().repeat(RANGE_BYTES / 3)).collect()
    }

    fn run<R: Send>(
        texts: &[String],
        num_threads: usize,
        interrupted: Interrupted<'_>,
        work: impl Fn(Range<usize>, &Cancel) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for_each_range(
            &texts,
            num_threads,
            interrupted,
            || (),
            |(), range, cancel| work(range, cancel),
            |()| {},
        )
    }

    #[test]
    fn every_text_is_worked_on_once_and_in_order() {
        for count in [0, 1, 2, 50] {
            for num_threads in [1, 2, 7] {
                let ranges = run(&texts(count), num_threads, &mut || false, |range, _| Ok(range)).unwrap();
                let indices: Vec<usize> = ranges.into_iter().flatten().collect();
                assert_eq!(indices, (0..count).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn an_error_ends_the_call_and_is_the_one_told() {
        let error = Error::UnicodeRestNeeded { code_point: 5 };
        for num_threads in [1, 3] {
            let result = run(&texts(40), num_threads, &mut || false, |range, cancel| {
                cancel.check()?;
                if range.contains(&17) { Err(error.clone()) } else { Ok(()) }
            });
            assert_eq!(result, Err(error.clone()));
        }
    }

    #[test]
    fn the_caller_can_end_the_call() {
        let mut asked = 0;
        let mut interrupted = || {
            asked += 1;
            asked == 2
        };
        let result: Result<Vec<()>> = run(&texts(9), 2, &mut interrupted, |_, cancel| {
            loop {
                cancel.check()?;
                thread::sleep(Duration::from_millis(1));
            }
        });
        assert_eq!(result, Err(Error::Cancelled));
        assert!(asked >= 2);
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let call = || run::<()>(&texts(9), 2, &mut || false, |range, _| panic!("at {}", range.start));
        assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    }
}
