//! A backend whose calls fail, lag, lie or stop where a test says so, and that remembers their order.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backend::{Backend, BackendError, ErrorKind, FileInfo, FileKind, Handle, Operation};
use bytes::Bytes;
use parking_lot::Mutex;

/// What happens to a call that a fault applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The call fails and does nothing.
    Fail(ErrorKind),
    /// The call fails as temporary, does nothing, and asks to wait for so long.
    Busy(Duration),
    /// The call is done, then reported as failed: its acknowledgement was lost.
    LoseAcknowledgement(ErrorKind),
    /// The call waits first.
    Delay(Duration),
    /// The call never returns.
    Hang,
    /// What is read has one bit flipped in its middle.
    FlipBit,
    /// What is read lacks its last byte.
    CutByte,
}

/// Which of the matching calls a fault applies to, counted from 1 when the fault is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Every one.
    All,
    /// Only this one.
    Nth(usize),
    /// The first so many.
    First(usize),
    /// This one and every later one.
    From(usize),
}

impl Calls {
    /// Whether the call of this number, counted from 1, is one of them.
    pub const fn include(self, number: usize) -> bool {
        match self {
            Self::All => true,
            Self::Nth(nth) => number == nth,
            Self::First(count) => number <= count,
            Self::From(nth) => number >= nth,
        }
    }
}

/// A fault: which calls, and what happens to them.
#[derive(Debug, Clone)]
pub struct Fault {
    operation: Option<Operation>,
    kind: Option<FileKind>,
    calls: Calls,
    effect: Effect,
}

impl Fault {
    /// A fault of every call; narrow it with the other methods.
    pub fn new(effect: Effect) -> Self {
        Self {
            operation: None,
            kind: None,
            calls: Calls::All,
            effect,
        }
    }

    /// Only calls of this operation.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only calls on this kind of objects.
    #[must_use]
    pub fn of(mut self, kind: FileKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only these among the matching calls.
    #[must_use]
    pub fn at(mut self, calls: Calls) -> Self {
        self.calls = calls;
        self
    }
}

/// A call as it arrived, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// The kind of objects; absent for the creation of the place.
    pub kind: Option<FileKind>,
    /// The object; absent for listings.
    pub name: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<(Fault, usize)>,
    calls: Vec<Call>,
    /// Changes (writes and removals) that still go through before the crash.
    changes_left: Option<usize>,
    is_crashed: bool,
}

/// Wraps a backend. Clones share faults and record.
#[derive(Debug, Clone)]
pub struct FaultBackend {
    inner: Arc<dyn Backend>,
    state: Arc<Mutex<State>>,
}

impl FaultBackend {
    /// No faults yet.
    pub fn new(inner: impl Backend + 'static) -> Self {
        Self::over(Arc::new(inner))
    }

    /// No faults yet, around a shared backend.
    pub fn over(inner: Arc<dyn Backend>) -> Self {
        Self {
            inner,
            state: Arc::default(),
        }
    }

    /// Adds a fault; when several apply to one call, all delays are waited and the first other effect wins.
    pub fn inject(&self, fault: Fault) {
        self.state.lock().faults.push((fault, 0));
    }

    /// Takes every fault away, a crash too.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        state.faults.clear();
        state.changes_left = None;
        state.is_crashed = false;
    }

    /// After so many more changes (writes and removals) the process counts as killed: the next change is not
    /// done, and it and every later call fail.
    pub fn crash_after_changes(&self, changes: usize) {
        self.state.lock().changes_left = Some(changes);
    }

    /// Whether the crash has happened.
    pub fn is_crashed(&self) -> bool {
        self.state.lock().is_crashed
    }

    /// Every call so far, in order of arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().calls.clone()
    }

    /// How many calls of this operation on this kind arrived so far.
    pub fn count(&self, operation: Operation, kind: FileKind) -> usize {
        let state = self.state.lock();
        state
            .calls
            .iter()
            .filter(|call| call.operation == operation && call.kind == Some(kind))
            .count()
    }

    /// Forgets the record, not the faults.
    pub fn forget_calls(&self) {
        self.state.lock().calls.clear();
    }

    /// Records a call and finds what happens to it.
    fn arrive(&self, call: Call) -> Vec<Effect> {
        let mut state = self.state.lock();
        if matches!(call.operation, Operation::Write | Operation::Remove) {
            match state.changes_left.as_mut() {
                Some(0) => state.is_crashed = true,
                Some(left) => *left -= 1,
                None => {}
            }
        }
        if state.is_crashed {
            return vec![Effect::Fail(ErrorKind::Permanent)];
        }
        let mut effects = Vec::new();
        for (fault, seen) in &mut state.faults {
            let is_match = fault
                .operation
                .is_none_or(|operation| operation == call.operation)
                && fault.kind.is_none_or(|kind| call.kind == Some(kind));
            if is_match {
                *seen += 1;
                effects.extend(fault.calls.include(*seen).then_some(fault.effect));
            }
        }
        state.calls.push(call);
        effects
    }

    async fn run<T>(
        &self,
        operation: Operation,
        kind: Option<FileKind>,
        handle: Option<&Handle>,
        work: impl Future<Output = Result<T, BackendError>>,
        change: impl FnOnce(T, Effect) -> T,
    ) -> Result<T, BackendError> {
        let effects = self.arrive(Call {
            operation,
            kind,
            name: handle.map(|handle| handle.name().to_owned()),
        });
        let error = |kind| BackendError {
            kind,
            operation,
            object: handle.map_or_else(|| "the place".to_owned(), Handle::to_string),
            location: self.inner.location(),
            retry_after: None,
            source: Some("injected by the test".into()),
        };
        for effect in &effects {
            if let Effect::Delay(time) = effect {
                tokio::time::sleep(*time).await;
            }
        }
        match effects
            .into_iter()
            .find(|effect| !matches!(effect, Effect::Delay(_)))
        {
            None | Some(Effect::Delay(_)) => work.await,
            Some(Effect::Fail(kind)) => Err(error(kind)),
            Some(Effect::Busy(time)) => Err(BackendError {
                retry_after: Some(time),
                ..error(ErrorKind::Temporary)
            }),
            Some(Effect::LoseAcknowledgement(kind)) => work.await.and_then(|_| Err(error(kind))),
            Some(Effect::Hang) => std::future::pending().await,
            Some(effect) => work.await.map(|value| change(value, effect)),
        }
    }
}

fn unchanged<T>(value: T, _effect: Effect) -> T {
    value
}

#[expect(clippy::needless_pass_by_value, reason = "the signature of a change")]
fn damaged(data: Bytes, effect: Effect) -> Bytes {
    let mut data = data.to_vec();
    let middle = data.len() / 2;
    if effect == Effect::CutByte {
        data.pop();
    } else if let Some(byte) = data.get_mut(middle) {
        *byte ^= 0x10;
    }
    Bytes::from(data)
}

#[async_trait]
impl Backend for FaultBackend {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn connections(&self) -> usize {
        self.inner.connections()
    }

    async fn create(&self) -> Result<(), BackendError> {
        self.run(
            Operation::Create,
            None,
            None,
            self.inner.create(),
            unchanged,
        )
        .await
    }

    async fn stat(&self, handle: &Handle) -> Result<FileInfo, BackendError> {
        self.run(
            Operation::Stat,
            Some(handle.kind()),
            Some(handle),
            self.inner.stat(handle),
            unchanged,
        )
        .await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileInfo>, BackendError> {
        self.run(
            Operation::List,
            Some(kind),
            None,
            self.inner.list(kind),
            unchanged,
        )
        .await
    }

    async fn read(&self, handle: &Handle) -> Result<Bytes, BackendError> {
        self.run(
            Operation::Read,
            Some(handle.kind()),
            Some(handle),
            self.inner.read(handle),
            damaged,
        )
        .await
    }

    async fn read_range(
        &self,
        handle: &Handle,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, BackendError> {
        let work = self.inner.read_range(handle, offset, length);
        self.run(
            Operation::Read,
            Some(handle.kind()),
            Some(handle),
            work,
            damaged,
        )
        .await
    }

    async fn write(&self, handle: &Handle, data: Bytes) -> Result<(), BackendError> {
        let work = self.inner.write(handle, data);
        self.run(
            Operation::Write,
            Some(handle.kind()),
            Some(handle),
            work,
            unchanged,
        )
        .await
    }

    async fn remove(&self, handle: &Handle) -> Result<(), BackendError> {
        self.run(
            Operation::Remove,
            Some(handle.kind()),
            Some(handle),
            self.inner.remove(handle),
            unchanged,
        )
        .await
    }
}

#[cfg(test)]
mod tests;
