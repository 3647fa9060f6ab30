//! Everything at a time: a bank whose clerks use locks, channels, parking and short-lived threads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Sender};
use std::sync::{Condvar, Mutex, RwLock};
use std::thread::{self, Thread};
use std::time::Duration;

use check::Numbers;

use crate::run::{Run, dawdle};

const ACCOUNTS: usize = 16;
const EACH: i64 = 1_000;

/// Accounts, whose sum never changes while nobody is in the hall.
struct Bank {
    accounts: [Mutex<i64>; ACCOUNTS],
    /// Clerks read, the auditor writes.
    hall: RwLock<()>,
    /// Clerks who want two accounts that are at work elsewhere wait here.
    contended: (Mutex<u32>, Condvar),
    transfers: AtomicU64,
}

impl Bank {
    fn transfer(&self, numbers: &mut Numbers) {
        let (from, to) = (numbers.below(ACCOUNTS), numbers.below(ACCOUNTS));
        if from == to {
            return;
        }
        let _inside = self.hall.read().expect("no thread panics");
        let (low, high) = (from.min(to), from.max(to));
        let mut first = self.accounts[low].lock().expect("no thread panics");
        if numbers.below(16) == 0 {
            dawdle(numbers);
        }
        let mut second = match self.accounts[high].try_lock() {
            Ok(guard) => guard,
            Err(_) => {
                *self.contended.0.lock().expect("no thread panics") += 1;
                self.contended.1.notify_one();
                self.accounts[high].lock().expect("no thread panics")
            }
        };
        let amount = numbers.below(50) as i64;
        let (from, to) =
            if low == from { (&mut first, &mut second) } else { (&mut second, &mut first) };
        **from -= amount;
        **to += amount;
        self.transfers.fetch_add(1, Relaxed);
    }

    fn audit(&self) {
        let _alone = self.hall.write().expect("no thread panics");
        let sum = self.accounts.iter().map(|account| *account.lock().expect("no thread panics"));
        assert_eq!(sum.sum::<i64>(), ACCOUNTS as i64 * EACH, "money was lost or made");
    }
}

/// What a clerk asks a helper for.
struct Order {
    transfers: usize,
    seed: u64,
    /// Who waits, parked, for the answer.
    client: Thread,
    answer: Sender<usize>,
}

pub fn bank(run: &Run) -> String {
    let bank = Bank {
        accounts: [const { Mutex::new(EACH) }; ACCOUNTS],
        hall: RwLock::new(()),
        contended: (Mutex::new(0), Condvar::new()),
        transfers: AtomicU64::new(0),
    };
    let (orders, inbox) = mpsc::sync_channel::<Order>(2);
    let inbox = Mutex::new(inbox);
    let (helped, audits) = (AtomicU64::new(0), AtomicU64::new(0));
    run.crew(|crew| {
        let (bank, inbox, helped, audits) = (&bank, &inbox, &helped, &audits);
        for _ in 0..run.processors() + 1 {
            crew.spawn("helper", move |worker| {
                loop {
                    let order = inbox.lock().expect("no thread panics").recv();
                    let Ok(order) = order else { return };
                    // In a thread of its own, for this once.
                    let seed = order.seed;
                    thread::scope(|scope| {
                        scope.spawn(|| {
                            let mut numbers = Numbers::new(seed);
                            (0..order.transfers).for_each(|_| bank.transfer(&mut numbers));
                        });
                    });
                    order.answer.send(order.transfers).expect("the client waits");
                    order.client.unpark();
                    helped.fetch_add(1, Relaxed);
                    worker.step();
                }
            });
        }
        for number in 0..run.threads() {
            let (mut numbers, orders) = (run.numbers(number), orders.clone());
            crew.spawn("clerk", move |worker| {
                while !run.over() {
                    match numbers.below(12) {
                        0 => {
                            let (answer, answers) = mpsc::channel();
                            let (transfers, seed) =
                                (1 + numbers.below(20), numbers.below(usize::MAX) as u64);
                            let client = thread::current();
                            orders
                                .send(Order { transfers, seed, client, answer })
                                .expect("a helper is there");
                            let done = loop {
                                match answers.try_recv() {
                                    Ok(done) => break done,
                                    Err(_) => thread::park(),
                                }
                            };
                            assert_eq!(done, transfers);
                        }
                        1 => dawdle(&mut numbers),
                        _ => bank.transfer(&mut numbers),
                    }
                    worker.step();
                }
            });
        }
        drop(orders);
        crew.spawn("auditor", move |worker| {
            while !run.over() {
                let busy = bank.contended.0.lock().expect("no thread panics");
                let wait = Duration::from_millis(2);
                let waited = bank.contended.1.wait_timeout_while(busy, wait, |busy| *busy < 10);
                *waited.expect("no thread panics").0 = 0;
                bank.audit();
                audits.fetch_add(1, Relaxed);
                worker.step();
            }
        });
    });
    bank.audit();
    format!(
        "{} transfers, {} by helpers' orders, {} audits",
        bank.transfers.into_inner(),
        helped.into_inner(),
        audits.into_inner()
    )
}
