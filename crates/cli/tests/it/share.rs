//! Which tests of a cluster run side by side.

use std::sync::{Condvar, Mutex, PoisonError};

/// Who uses the cluster now.
static USERS: Mutex<Users> = Mutex::new(Users {
    company: Company::Operators,
    count: 0,
});
static LEFT: Condvar = Condvar::new();

struct Users {
    company: Company,
    count: usize,
}

/// With whom a test shares the cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    /// With tests that run operators: whichever leads works in all namespaces.
    Operators,
    /// With tests that play the operator themselves.
    Agents,
    /// With nobody.
    Nobody,
}

/// The part of the cluster that a test has until its end.
pub struct Share(());

impl Share {
    /// The cluster together with other tests that run operators.
    pub fn some() -> Self {
        Self::take(Company::Operators)
    }

    /// The cluster together with other tests that run none.
    pub fn without_operators() -> Self {
        Self::take(Company::Agents)
    }

    /// The cluster alone: no other test of this program uses it, no other operator runs.
    pub fn all() -> Self {
        Self::take(Company::Nobody)
    }

    fn take(company: Company) -> Self {
        // A test that failed leaves the numbers right.
        let users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        let must_wait = |users: &mut Users| {
            users.count > 0 && (users.company != company || company == Company::Nobody)
        };
        let mut users = LEFT
            .wait_while(users, must_wait)
            .unwrap_or_else(PoisonError::into_inner);
        users.company = company;
        users.count += 1;
        Self(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        users.count -= 1;
        drop(users);
        LEFT.notify_all();
    }
}
