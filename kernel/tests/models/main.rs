//! Models of how processors hand tasks to each other, in which `loom` searches all interleavings of a few
//! threads, and all values that the memory model lets a load see (Norris and Demsky, "CDSChecker",
//! 2013).
//!
//! Each model says in its head which code it is a model of, and has variants, each with one thing left out
//! that the code relies on. The whole one must hold and the others must not: a model that holds without a
//! fence does not see what the fence is for.
//!
//! Of sequentially consistent operations loom knows the fences only. Where the code has a `SeqCst` store
//! that is followed by a load, a model has a store, a fence and a load.

mod claim;
mod context;
mod deadlock;
mod halt;
mod mutex;
mod shootdown;

/// Searches a model, with up to so many switches between threads that are not due to waiting.
fn search(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}
