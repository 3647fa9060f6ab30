//! Parking, channels, and wake-ups that race with time-outs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::sync::{Condvar, Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::run::{Run, dawdle, spin};

/// A thread that takes what it is given.
#[derive(Default)]
struct Taker {
    thread: OnceLock<Thread>,
    given: AtomicU64,
}

pub fn park(run: &Run) -> String {
    let takers = (0..run.threads()).map(|_| Taker::default()).collect::<Vec<_>>();
    let (closed, parks) = (AtomicBool::new(false), AtomicU64::new(0));
    let (given, taken) = run.crew(|crew| {
        let threads = takers.iter().enumerate().map(|(number, taker)| {
            let (mut numbers, closed, parks) = (run.numbers(number), &closed, &parks);
            crew.spawn("taker", move |worker| {
                taker.thread.get_or_init(thread::current);
                let mut sum = 0;
                loop {
                    let last = closed.load(SeqCst);
                    let taken = taker.given.swap(0, SeqCst);
                    sum += taken;
                    worker.step();
                    if taken == 0 {
                        if last {
                            return sum;
                        }
                        parks.fetch_add(1, Relaxed);
                        if numbers.below(4) == 0 {
                            thread::park_timeout(Duration::from_micros(numbers.below(400) as u64));
                        } else {
                            thread::park();
                        }
                    }
                }
            })
        });
        let threads = threads.collect::<Vec<_>>();
        let givers = (0..run.processors() + 1).map(|giver| {
            let (mut numbers, takers) = (run.numbers(1_000 + giver), &takers);
            crew.spawn("giver", move |worker| {
                let mut given = 0;
                while !run.over() {
                    let taker = &takers[numbers.below(takers.len())];
                    taker.given.fetch_add(1, SeqCst);
                    given += 1;
                    // Before a taker has said who it is it does not park for good.
                    if let Some(thread) = taker.thread.get() {
                        thread.unpark();
                    }
                    worker.step();
                    dawdle(&mut numbers);
                }
                given
            })
        });
        let givers = givers.collect::<Vec<_>>();
        let sum = |sum: u64, own: thread::Result<u64>| sum + own.expect("no thread panics");
        let given = givers.into_iter().map(|thread| thread.join()).fold(0, sum);
        closed.store(true, SeqCst);
        for taker in &takers {
            while taker.thread.get().is_none() {
                thread::yield_now();
            }
            taker.thread.get().into_iter().for_each(Thread::unpark);
        }
        (given, threads.into_iter().map(|thread| thread.join()).fold(0, sum))
    });
    assert_eq!(given, taken, "what was given was not taken");
    format!("{given} wake-ups, {} parks", parks.into_inner())
}

pub fn channels(run: &Run) -> String {
    let mut numbers = run.numbers(0);
    let (mut rounds, mut moved) = (0, 0);
    while rounds == 0 || !run.over() {
        moved += match rounds % 3 {
            0 => ring(run, 2 + numbers.below(12), 50 + numbers.below(100) as u64),
            1 => many_to_one(run, None, 20 + numbers.below(200) as u64),
            _ => many_to_one(run, Some(numbers.below(4)), 20 + numbers.below(200) as u64),
        };
        rounds += 1;
    }
    format!("{moved} messages in {rounds} rounds")
}

/// Every message goes through all threads, each of which adds one.
fn ring(run: &Run, length: usize, messages: u64) -> u64 {
    let (first, mut end) = mpsc::channel::<u64>();
    run.crew(|crew| {
        for _ in 0..length {
            let (sender, next) = mpsc::channel();
            let receiver = std::mem::replace(&mut end, next);
            crew.spawn("relay", move |worker| {
                for message in receiver {
                    sender.send(message + 1).expect("the next one still receives");
                    worker.step();
                }
            });
        }
        for message in 0..messages {
            first.send(message).expect("the first one still receives");
        }
        drop(first);
        let length = length as u64;
        assert!(end.into_iter().eq(length..length + messages), "messages were lost or overtaken");
    });
    messages * length as u64
}

/// Many senders, with room for `bound` messages if there is a bound.
fn many_to_one(run: &Run, bound: Option<usize>, each: u64) -> u64 {
    enum Sender {
        Free(mpsc::Sender<(usize, u64)>),
        Bound(mpsc::SyncSender<(usize, u64)>),
    }
    let senders = run.threads();
    let (sender, receiver) = match bound {
        None => {
            let (sender, receiver) = mpsc::channel();
            (Sender::Free(sender), receiver)
        }
        Some(bound) => {
            let (sender, receiver) = mpsc::sync_channel(bound);
            (Sender::Bound(sender), receiver)
        }
    };
    run.crew(|crew| {
        for number in 0..senders {
            let own = match &sender {
                Sender::Free(sender) => Sender::Free(sender.clone()),
                Sender::Bound(sender) => Sender::Bound(sender.clone()),
            };
            let mut numbers = run.numbers(number);
            crew.spawn("sender", move |worker| {
                for message in 0..each {
                    match &own {
                        Sender::Free(sender) => sender.send((number, message)),
                        Sender::Bound(sender) => sender.send((number, message)),
                    }
                    .expect("the receiver is there");
                    worker.step();
                    dawdle(&mut numbers);
                }
            });
        }
        drop(sender);
        let (mut next, mut numbers) = (vec![0; senders], run.numbers(1_000));
        loop {
            let message = match numbers.below(3) {
                0 => receiver.recv().ok(),
                1 => {
                    match receiver.recv_timeout(Duration::from_micros(numbers.below(500) as u64)) {
                        Ok(message) => Some(message),
                        Err(RecvTimeoutError::Timeout) => continue,
                        Err(RecvTimeoutError::Disconnected) => None,
                    }
                }
                _ => match receiver.try_recv() {
                    Ok(message) => Some(message),
                    Err(TryRecvError::Empty) => {
                        thread::yield_now();
                        continue;
                    }
                    Err(TryRecvError::Disconnected) => None,
                },
            };
            let Some((sender, number)) = message else {
                break;
            };
            assert_eq!(number, next[sender], "messages were lost or overtaken");
            next[sender] += 1;
        }
        assert_eq!(next, vec![each; senders], "messages were lost");
    });
    each * senders as u64
}

/// Tokens that are waited for only so long.
#[derive(Default)]
struct Tokens {
    left: Mutex<u64>,
    added: Condvar,
}

pub fn races(run: &Run) -> String {
    let (tokens, closed) = (Tokens::default(), AtomicBool::new(false));
    let timed_out = AtomicU64::new(0);
    let (given, taken) = run.crew(|crew| {
        let takers = (0..run.threads()).map(|number| {
            let mut numbers = run.numbers(number);
            let (tokens, closed, timed_out) = (&tokens, &closed, &timed_out);
            crew.spawn("taker", move |worker| {
                let mut taken = 0;
                loop {
                    let last = closed.load(SeqCst);
                    let wait = Duration::from_micros(numbers.below(300) as u64);
                    let left = tokens.left.lock().expect("no thread panics");
                    let (mut left, end) = tokens
                        .added
                        .wait_timeout_while(left, wait, |left| *left == 0)
                        .expect("no thread panics");
                    worker.step();
                    if *left > 0 {
                        *left -= 1;
                        taken += 1;
                    } else {
                        assert!(end.timed_out(), "the wait ended without a token or the time");
                        timed_out.fetch_add(1, Relaxed);
                        if last {
                            return taken;
                        }
                    }
                }
            })
        });
        let takers = takers.collect::<Vec<_>>();
        let givers = (0..run.processors()).map(|giver| {
            let (mut numbers, tokens) = (run.numbers(1_000 + giver), &tokens);
            crew.spawn("giver", move |worker| {
                let mut given = 0_u64;
                while !run.past(50) {
                    // About as far apart as the takers wait.
                    thread::sleep(Duration::from_micros(numbers.below(150) as u64));
                    *tokens.left.lock().expect("no thread panics") += 1;
                    tokens.added.notify_one();
                    given += 1;
                    worker.step();
                }
                given
            })
        });
        let givers = givers.collect::<Vec<_>>();
        let sum = |sum: u64, own: thread::Result<u64>| sum + own.expect("no thread panics");
        let given = givers.into_iter().map(|thread| thread.join()).fold(0, sum);
        closed.store(true, SeqCst);
        (given, takers.into_iter().map(|thread| thread.join()).fold(0, sum))
    });
    assert_eq!((given, tokens.left.into_inner().ok()), (taken, Some(0)), "tokens were lost");
    let duels = duels(run);
    format!("{given} tokens, {} time-outs, {duels} duels", timed_out.into_inner())
}

/// A token at a time for two who wait, one of them only for so long: a wake-up that goes to one whose
/// time is over would leave the other one asleep.
fn duels(run: &Run) -> u64 {
    #[derive(Default)]
    struct Duel {
        token: Mutex<Option<bool>>,
        changed: Condvar,
        taken: Condvar,
    }
    impl Duel {
        /// Whether the waiter goes on, after it took the token if there is one.
        fn take(&self, token: &mut Option<bool>) -> bool {
            let last = *token == Some(false);
            if *token == Some(true) {
                *token = None;
                self.taken.notify_one();
            }
            !last
        }
    }
    let pairs = (0..run.processors().div_ceil(2)).map(|_| Duel::default()).collect::<Vec<_>>();
    let count = AtomicU64::new(0);
    run.crew(|crew| {
        for (number, pair) in pairs.iter().enumerate() {
            crew.spawn("patient", |worker| {
                loop {
                    let token = pair.token.lock().expect("no thread panics");
                    let mut token =
                        pair.changed.wait_while(token, |token| token.is_none()).expect("as above");
                    worker.step();
                    if !pair.take(&mut token) {
                        return;
                    }
                }
            });
            let mut numbers = run.numbers(2_000 + number);
            crew.spawn("impatient", move |_| {
                loop {
                    let wait = Duration::from_micros(numbers.below(120) as u64);
                    let token = pair.token.lock().expect("no thread panics");
                    let waited =
                        pair.changed.wait_timeout_while(token, wait, |token| token.is_none());
                    if !pair.take(&mut waited.expect("as above").0) {
                        return;
                    }
                    dawdle(&mut numbers);
                }
            });
            let (mut numbers, count) = (run.numbers(3_000 + number), &count);
            crew.spawn("giver", move |worker| {
                loop {
                    let more = !run.over();
                    *pair.token.lock().expect("no thread panics") = Some(more);
                    if !more {
                        pair.changed.notify_all();
                        return;
                    }
                    pair.changed.notify_one();
                    let token = pair.token.lock().expect("no thread panics");
                    drop(pair.taken.wait_while(token, |token| token.is_some()).expect("as above"));
                    worker.step();
                    count.fetch_add(1, Relaxed);
                    spin(numbers.below(20_000));
                }
            });
        }
    });
    count.into_inner()
}
