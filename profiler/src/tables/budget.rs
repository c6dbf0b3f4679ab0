//! One account of the memory that unwind tables take, in the kernel and in this process: what is kept
//! for as long as tables are, and what is lent while one of them is built.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What may be taken, and what is.
#[derive(Clone, Debug)]
pub struct Budget {
    account: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    bytes: usize,
    taken: Mutex<Taken>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Taken {
    kept: usize,
    lent: usize,
}

/// Memory for a while; it is given back with the value.
#[derive(Debug)]
pub struct Loan {
    account: Arc<Account>,
    bytes: usize,
}

impl Budget {
    /// So many bytes in all.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let account = Account {
            bytes,
            taken: Mutex::default(),
            returned: Condvar::new(),
        };
        Self {
            account: Arc::new(account),
        }
    }

    /// What tables may keep: half, so that there is room to build them.
    #[must_use]
    pub fn for_tables(&self) -> usize {
        self.account.bytes / 2
    }

    /// Waits until so much is free; `None` where it never will be.
    #[must_use]
    pub fn lend(&self, bytes: usize) -> Option<Loan> {
        let mut taken = self.account.taken();
        while bytes <= self.account.bytes.saturating_sub(taken.kept) {
            if let Some(loan) = self.lend_of(&mut taken, bytes) {
                return Some(loan);
            }
            let woken = self.account.returned.wait(taken);
            taken = woken.unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// As [`Budget::lend`], without waiting.
    #[must_use]
    pub fn lend_now(&self, bytes: usize) -> Option<Loan> {
        self.lend_of(&mut self.account.taken(), bytes)
    }

    fn lend_of(&self, taken: &mut Taken, bytes: usize) -> Option<Loan> {
        let free = self.account.bytes.checked_sub(taken.kept + taken.lent)?;
        (bytes <= free).then(|| {
            taken.lent += bytes;
            Loan {
                account: Arc::clone(&self.account),
                bytes,
            }
        })
    }

    /// Takes memory for tables in the place of what was lent for them, which is more.
    pub(super) fn keep_of(&self, loan: Option<Loan>, bytes: usize) {
        self.account.taken().kept += bytes;
        drop(loan);
        // Who waits may wait for what there never will be.
        self.account.returned.notify_all();
    }

    /// Takes memory for tables, once as much has been given back of what is lent.
    pub(super) fn keep(&self, bytes: usize) {
        let mut taken = self.account.taken();
        while taken.lent > 0 && taken.kept + taken.lent + bytes > self.account.bytes {
            let woken = self.account.returned.wait(taken);
            taken = woken.unwrap_or_else(PoisonError::into_inner);
        }
        taken.kept += bytes;
    }

    /// Gives back what was kept.
    pub(super) fn give_back(&self, bytes: usize) {
        self.account.taken().kept -= bytes;
        self.account.returned.notify_all();
    }
}

impl Account {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.account.taken().lent -= self.bytes;
        self.account.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// What is kept can no longer be lent, and more than is left is refused at once.
    #[test]
    fn what_never_will_be_free_is_refused() {
        let budget = Budget::new(100);
        let first = budget.lend(80).unwrap();
        assert!(budget.lend_now(30).is_none() && budget.lend(101).is_none());
        budget.keep_of(Some(first), 40);
        assert!(budget.lend(61).is_none());
        let second = budget.lend(60).unwrap();
        assert!(budget.lend_now(1).is_none());
        drop(second);
        budget.give_back(40);
        assert!(budget.lend(100).is_some());
    }

    /// Who asks for what is lent to another waits until it is given back.
    #[test]
    fn what_is_lent_is_waited_for() {
        let budget = Budget::new(100);
        let first = budget.lend(60).unwrap();
        let other = budget.clone();
        let waiting = thread::spawn(move || other.lend(60).is_some());
        drop(first);
        assert!(waiting.join().unwrap());
    }

    /// Who waits for what another then keeps is refused.
    #[test]
    fn who_waits_in_vain_is_told() {
        let budget = Budget::new(100);
        let first = budget.lend(60).unwrap();
        let other = budget.clone();
        let waiting = thread::spawn(move || other.lend(60).is_none());
        budget.keep_of(Some(first), 50);
        assert!(waiting.join().unwrap());
    }
}
