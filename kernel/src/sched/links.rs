//! Lists of tasks: each task stands in at most one, by its number.

/// No task.
pub const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    previous: u32,
}

/// The links of all tasks, indexed by task number.
#[derive(Debug, Default)]
pub struct Links(alloc::vec::Vec<Link>);

/// A list's two ends.
#[derive(Clone, Copy, Debug)]
pub struct List {
    first: u32,
    last: u32,
}

impl Default for List {
    fn default() -> Self {
        List::EMPTY
    }
}

impl Links {
    /// No tasks.
    #[must_use]
    pub const fn new() -> Links {
        Links(alloc::vec::Vec::new())
    }

    /// Makes room for tasks with numbers below `count`; `false` when memory is short.
    #[must_use]
    pub fn grow(&mut self, count: usize) -> bool {
        let missing = count.saturating_sub(self.0.len());
        if self.0.try_reserve(missing).is_err() {
            return false;
        }
        self.0.resize(
            self.0.len() + missing,
            Link {
                next: NONE,
                previous: NONE,
            },
        );
        true
    }
}

impl List {
    /// A list without tasks.
    pub const EMPTY: List = List {
        first: NONE,
        last: NONE,
    };

    /// True when no task stands in it.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Puts a task at the end.
    pub fn push(&mut self, links: &mut Links, task: u32) {
        links.0[task as usize] = Link {
            next: NONE,
            previous: self.last,
        };
        match self.last {
            NONE => self.first = task,
            last => links.0[last as usize].next = task,
        }
        self.last = task;
    }

    /// Takes the first task.
    #[inline(always)]
    pub fn pop(&mut self, links: &mut Links) -> Option<u32> {
        let first = self.first;
        if first == NONE {
            return None;
        }
        self.first = links.0[first as usize].next;
        match self.first {
            NONE => self.last = NONE,
            second => links.0[second as usize].previous = NONE,
        }
        Some(first)
    }

    /// Takes a task out, wherever it stands.
    pub fn remove(&mut self, links: &mut Links, task: u32) {
        let Link { next, previous } = links.0[task as usize];
        match previous {
            NONE => self.first = next,
            previous => links.0[previous as usize].next = next,
        }
        match next {
            NONE => self.last = previous,
            next => links.0[next as usize].previous = previous,
        }
    }

    /// The first task for which `matches` holds.
    #[must_use]
    pub fn first_matching(
        &self,
        links: &Links,
        mut matches: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let mut task = self.first;
        while task != NONE {
            if matches(task) {
                return Some(task);
            }
            task = links.0[task as usize].next;
        }
        None
    }
}
