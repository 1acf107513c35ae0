mod judge;

use std::sync::atomic::{AtomicU64, Ordering};

use backend::{Backend, ErrorKind, Operation};
use jiff::Timestamp;
use jiff::tz::Offset;
use testkit::{Calls, Effect, Fault, FaultBackend, MemoryBackend, Random};
use tokio::time::{Instant, sleep};

use super::*;
use crate::key::ScryptParams;
use crate::{CreateOptions, Id};

const MINUTE: Duration = Duration::from_mins(1);

/// Follows the virtual time of the runtime, plus the time that the machine slept.
#[derive(Debug)]
struct TestClock {
    base: (Timestamp, Instant),
    slept_seconds: AtomicU64,
}

impl TestClock {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            base: (Timestamp::now(), Instant::now()),
            slept_seconds: AtomicU64::new(0),
        })
    }

    /// The time of day goes on, the timers do not.
    fn sleep_machine(&self, time: Duration) {
        self.slept_seconds
            .fetch_add(time.as_secs(), Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let slept = Duration::from_secs(self.slept_seconds.load(Ordering::Relaxed));
        self.base.0 + self.base.1.elapsed() + slept
    }
}

struct Fixture {
    memory: MemoryBackend,
    faults: FaultBackend,
    repository: Repository,
    clock: Arc<TestClock>,
}

impl Fixture {
    async fn new() -> Self {
        let memory = MemoryBackend::new();
        let faults = FaultBackend::new(memory.clone());
        let options = CreateOptions {
            scrypt: Some(ScryptParams::FAST_FOR_TESTS),
            ..Default::default()
        };
        let password = "password".to_owned().into();
        let backend: Arc<dyn Backend> = Arc::new(faults.clone());
        let repository = Repository::create(backend, &password, &options)
            .await
            .unwrap();
        Self {
            memory,
            faults,
            repository,
            clock: TestClock::new(),
        }
    }

    async fn acquire(&self, kind: LockKind, retry_for: Duration) -> Result<Lock, LockError> {
        self.acquire_judging(kind, retry_for, None).await
    }

    async fn acquire_judging(
        &self,
        kind: LockKind,
        retry_for: Duration,
        judge: Option<Arc<dyn Judge>>,
    ) -> Result<Lock, LockError> {
        let options = LockOptions {
            retry_for,
            hostname: "test".to_owned(),
            username: "tester".to_owned(),
            judge,
        };
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&self.clock);
        Lock::acquire_with_clock(&self.repository, kind, &options, clock).await
    }

    async fn try_acquire(&self, kind: LockKind) -> Result<Lock, LockError> {
        self.acquire(kind, Duration::ZERO).await
    }

    /// A lock of another machine, so old.
    async fn plant(&self, exclusive: bool, age: Duration) -> LockId {
        let lock = LockFile {
            exclusive,
            hostname: "elsewhere".to_owned(),
            pid: 1,
            ..LockFile::default()
        };
        lock.save(&self.repository, self.clock.now() - age)
            .await
            .unwrap()
    }

    fn lock_files(&self) -> usize {
        self.memory.handles_of(FileKind::Lock).len()
    }

    fn refuse(&self, operation: Operation) {
        self.faults.inject(
            Fault::new(Effect::Fail(ErrorKind::Temporary))
                .on(operation)
                .of(FileKind::Lock),
        );
    }
}

#[test]
fn the_file_has_the_fields_that_restic_writes_and_reads() {
    let written = LockFile {
        time: "2026-11-22T20:32:05.958931161Z".parse().unwrap(),
        exclusive: false,
        hostname: "vm".to_owned(),
        username: "root".to_owned(),
        pid: 13265,
        ..LockFile::default()
    };
    let text = r#"{"time":"2026-11-22T20:32:05.958931161Z","exclusive":false,"hostname":"vm","username":"root","pid":13265}"#;
    assert_eq!(serde_json::to_string(&written).unwrap(), text);
    assert_eq!(serde_json::from_str::<LockFile>(text).unwrap(), written);
    assert_eq!(
        serde_json::from_str::<LockFile>("{}").unwrap(),
        LockFile::default()
    );
    let owned = LockFile {
        uid: 1000,
        gid: 100,
        ..written
    };
    assert!(
        serde_json::to_string(&owned)
            .unwrap()
            .ends_with(r#""uid":1000,"gid":100}"#)
    );
}

#[test]
fn a_lock_is_stale_by_age_or_by_a_dead_process_of_this_machine_only() {
    let now = Timestamp::now();
    let lock = |age: Duration| LockFile {
        time: Time::new(now - age, Offset::UTC),
        hostname: "here".to_owned(),
        pid: 7,
        ..LockFile::default()
    };
    let (young, old) = (lock(29 * MINUTE), lock(31 * MINUTE));
    assert!(old.is_stale(now, Some("here"), |_| true));
    assert!(old.is_stale(now, Some("elsewhere"), |_| true));
    assert!(young.is_stale(now, Some("here"), |pid| pid != 7));
    assert!(!young.is_stale(now, Some("here"), |pid| pid == 7));
    assert!(!young.is_stale(now, Some("elsewhere"), |_| false));
    assert!(!young.is_stale(now, None, |_| false));
    // A clock that is ahead of ours makes no lock stale.
    assert!(!lock(Duration::ZERO).is_stale(now - 60 * MINUTE, Some("here"), |_| true));
}

#[tokio::test(start_paused = true)]
async fn shared_locks_go_together_and_exclusive_ones_with_nothing() {
    let fixture = Fixture::new().await;
    let first = fixture.try_acquire(LockKind::Shared).await.unwrap();
    let second = fixture.try_acquire(LockKind::Shared).await.unwrap();
    let error = fixture.try_acquire(LockKind::Exclusive).await.unwrap_err();
    assert!(
        matches!(
            error,
            LockError::Locked {
                exclusive: false,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(fixture.lock_files(), 2);
    first.release().await.unwrap();
    second.release().await.unwrap();
    let exclusive = fixture.try_acquire(LockKind::Exclusive).await.unwrap();
    for kind in [LockKind::Shared, LockKind::Exclusive] {
        let error = fixture.try_acquire(kind).await.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(&error, LockError::Locked { exclusive: true, lock, .. } if *lock == exclusive.id())
        );
        assert!(
            text.contains("exclusively by PID") && text.contains("on test by tester"),
            "{text}"
        );
    }
    exclusive.release().await.unwrap();
    assert_eq!(fixture.lock_files(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_stale_locks_in_the_way_are_removed() {
    let fixture = Fixture::new().await;
    let stale_shared = fixture.plant(false, 31 * MINUTE).await;
    let stale_exclusive = fixture.plant(true, 31 * MINUTE).await;
    let live_shared = fixture.plant(false, 29 * MINUTE).await;
    let lock = fixture.try_acquire(LockKind::Shared).await.unwrap();
    let left: Vec<LockId> = list(&fixture.repository)
        .await
        .unwrap()
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    assert!(!left.contains(&stale_exclusive));
    assert!(
        [stale_shared, live_shared, lock.id()]
            .iter()
            .all(|id| left.contains(id))
    );
    lock.release().await.unwrap();
    assert!(fixture.try_acquire(LockKind::Exclusive).await.is_err());
    remove(&fixture.repository, live_shared).await.unwrap();
    fixture
        .try_acquire(LockKind::Exclusive)
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    assert_eq!(fixture.lock_files(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stale_lock_that_cannot_be_removed_still_counts() {
    let fixture = Fixture::new().await;
    fixture.plant(true, 31 * MINUTE).await;
    fixture.refuse(Operation::Remove);
    assert!(matches!(
        fixture.try_acquire(LockKind::Shared).await,
        Err(LockError::Locked { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_that_appears_while_ours_is_written_makes_us_step_back() {
    let fixture = Fixture::new().await;
    let theirs = async {
        sleep(Duration::from_millis(100)).await;
        fixture.plant(true, Duration::ZERO).await
    };
    let (ours, _) = tokio::join!(fixture.try_acquire(LockKind::Shared), theirs);
    assert!(matches!(ours, Err(LockError::Locked { .. })));
    assert_eq!(fixture.lock_files(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_racing_exclusive_locks_never_two_are_held() {
    let fixture = Fixture::new().await;
    let mut random = Random::from_environment();
    for _ in 0..50 {
        let delays = [random.below(500), random.below(500), random.below(500)];
        let attempt = async |delay| {
            sleep(Duration::from_millis(delay)).await;
            fixture.try_acquire(LockKind::Exclusive).await
        };
        let (one, two, three) =
            tokio::join!(attempt(delays[0]), attempt(delays[1]), attempt(delays[2]));
        let held: Vec<Lock> = [one, two, three]
            .into_iter()
            .filter_map(Result::ok)
            .collect();
        assert!(held.len() <= 1, "{delays:?}");
        for lock in held {
            lock.release().await.unwrap();
        }
        assert_eq!(fixture.lock_files(), 0, "{delays:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retrying_waits_for_the_other_lock_and_no_longer_than_told() {
    let fixture = Fixture::new().await;
    let other = fixture.try_acquire(LockKind::Exclusive).await.unwrap();
    let started = Instant::now();
    assert!(matches!(
        fixture.acquire(LockKind::Shared, 2 * MINUTE).await,
        Err(LockError::Locked { .. })
    ));
    assert!(
        started.elapsed() >= 2 * MINUTE && started.elapsed() < 2 * MINUTE + Duration::from_secs(5)
    );
    let release = async {
        sleep(3 * MINUTE).await;
        other.release().await.unwrap();
    };
    let (lock, ()) = tokio::join!(fixture.acquire(LockKind::Shared, 60 * MINUTE), release);
    lock.unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_attempt_leaves_no_file() {
    let fixture = Fixture::new().await;
    let attempt = fixture.try_acquire(LockKind::Exclusive);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), attempt)
            .await
            .is_err()
    );
    assert_eq!(fixture.faults.count(Operation::Write, FileKind::Lock), 1);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(fixture.lock_files(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_lock_is_waited_for_and_then_refused_but_an_empty_one_is_ignored() {
    let fixture = Fixture::new().await;
    let junk = Handle::new(FileKind::Lock, Id::of(b"junk").to_hex());
    fixture
        .memory
        .put(&Handle::new(FileKind::Lock, Id::of(b"empty").to_hex()), "");
    fixture.memory.put(&junk, vec![7; 200]);
    let started = Instant::now();
    assert!(matches!(
        fixture.try_acquire(LockKind::Shared).await,
        Err(LockError::Invalid { .. })
    ));
    assert!(started.elapsed() >= Duration::from_secs(35));

    let cleanup = async {
        sleep(Duration::from_secs(7)).await;
        fixture.memory.take(&junk);
    };
    let (lock, ()) = tokio::join!(fixture.try_acquire(LockKind::Exclusive), cleanup);
    lock.unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn unlock_removes_stale_locks_and_on_demand_all() {
    let fixture = Fixture::new().await;
    let stale = fixture.plant(false, 31 * MINUTE).await;
    fixture.plant(true, Duration::ZERO).await;
    fixture.memory.put(
        &Handle::new(FileKind::Lock, Id::of(b"junk").to_hex()),
        vec![7; 200],
    );
    assert_eq!(
        list(&fixture.repository)
            .await
            .unwrap()
            .iter()
            .filter(|(_, lock)| lock.is_err())
            .count(),
        1
    );
    assert_eq!(
        unlock(&fixture.repository, UnlockScope::Stale)
            .await
            .unwrap(),
        [stale]
    );
    assert_eq!(
        unlock(&fixture.repository, UnlockScope::All)
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(fixture.lock_files(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_held_lock_is_refreshed_every_five_minutes() {
    let fixture = Fixture::new().await;
    let lock = fixture.try_acquire(LockKind::Exclusive).await.unwrap();
    let first = lock.id();
    sleep(4 * MINUTE).await;
    assert_eq!(lock.id(), first);
    sleep(2 * MINUTE).await;
    assert_ne!(lock.id(), first);
    sleep(10 * 60 * MINUTE).await;
    lock.ensure_held().unwrap();
    let locks = list(&fixture.repository).await.unwrap();
    let [(id, Ok(file))] = &locks[..] else {
        panic!("one lock expected: {locks:?}")
    };
    assert_eq!(*id, lock.id());
    assert!(
        fixture
            .clock
            .now()
            .duration_since(file.time.timestamp())
            .as_secs()
            <= 302
    );
    let writes = fixture.faults.count(Operation::Write, FileKind::Lock);
    assert!((120..124).contains(&writes), "{writes}");
    lock.release().await.unwrap();
    assert_eq!(fixture.lock_files(), 0);
}

#[tokio::test(start_paused = true)]
async fn refusals_shorter_than_the_limit_are_survived() {
    let fixture = Fixture::new().await;
    let lock = fixture.try_acquire(LockKind::Shared).await.unwrap();
    fixture.refuse(Operation::Write);
    sleep(20 * MINUTE).await;
    fixture.faults.heal();
    sleep(MINUTE).await;
    lock.ensure_held().unwrap();
    sleep(20 * MINUTE).await;
    lock.ensure_held().unwrap();
    lock.release().await.unwrap();
    assert_eq!(fixture.lock_files(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_cannot_be_refreshed_is_lost_before_others_call_it_stale() {
    for effect in [Effect::Fail(ErrorKind::PermissionDenied), Effect::Hang] {
        let fixture = Fixture::new().await;
        let lock = fixture.try_acquire(LockKind::Shared).await.unwrap();
        let started = Instant::now();
        fixture
            .faults
            .inject(Fault::new(effect).on(Operation::Write).of(FileKind::Lock));
        lock.lost().cancelled().await;
        assert!(
            started.elapsed() >= 22 * MINUTE && started.elapsed() < 25 * MINUTE,
            "{:?}",
            started.elapsed()
        );
        assert!(matches!(lock.ensure_held(), Err(LockError::Lost)));
        lock.release().await.unwrap();
        assert_eq!(fixture.lock_files(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_machine_slept_the_lock_goes_on_if_its_file_is_still_there() {
    let fixture = Fixture::new().await;
    let lock = fixture.try_acquire(LockKind::Shared).await.unwrap();
    let first = lock.id();
    fixture.clock.sleep_machine(120 * MINUTE);
    assert!(matches!(lock.ensure_held(), Err(LockError::Lost)));
    assert!(!lock.lost().is_cancelled());
    sleep(Duration::from_secs(3)).await;
    lock.ensure_held().unwrap();
    assert_ne!(lock.id(), first);
    assert_eq!(fixture.lock_files(), 1);
    lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_the_machine_slept_the_lock_is_lost_if_others_removed_its_file() {
    let fixture = Fixture::new().await;
    let lock = fixture.try_acquire(LockKind::Shared).await.unwrap();
    fixture.clock.sleep_machine(31 * MINUTE);
    let other = fixture.try_acquire(LockKind::Exclusive).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert!(lock.lost().is_cancelled());
    lock.release().await.unwrap();
    assert_eq!(fixture.lock_files(), 1);
    other.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_removed_by_others_is_lost_at_the_next_refresh() {
    let fixture = Fixture::new().await;
    let lock = fixture.try_acquire(LockKind::Shared).await.unwrap();
    assert_eq!(
        unlock(&fixture.repository, UnlockScope::All).await.unwrap(),
        [lock.id()]
    );
    sleep(6 * MINUTE).await;
    assert!(lock.lost().is_cancelled());
    lock.release().await.unwrap();
    assert_eq!(fixture.lock_files(), 0);
}

#[tokio::test(start_paused = true)]
async fn files_that_a_refresh_could_not_remove_are_removed_later() {
    let fixture = Fixture::new().await;
    let lock = fixture.try_acquire(LockKind::Shared).await.unwrap();
    let fault = Fault::new(Effect::Fail(ErrorKind::Temporary))
        .on(Operation::Remove)
        .at(Calls::First(1));
    fixture.faults.inject(fault);
    sleep(6 * MINUTE).await;
    assert_eq!(fixture.lock_files(), 2);
    lock.release().await.unwrap();
    assert_eq!(fixture.lock_files(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_storage_that_refuses_is_reported_as_that() {
    let fixture = Fixture::new().await;
    let fault = |operation| {
        Fault::new(Effect::Fail(ErrorKind::ReadOnly))
            .on(operation)
            .of(FileKind::Lock)
    };
    fixture.faults.inject(fault(Operation::Write));
    assert!(matches!(
        fixture.try_acquire(LockKind::Shared).await,
        Err(LockError::Save { .. })
    ));
    fixture.faults.heal();
    fixture.faults.inject(fault(Operation::List));
    assert!(matches!(
        fixture.try_acquire(LockKind::Shared).await,
        Err(LockError::Storage { action: "list", .. })
    ));
    fixture.faults.heal();
    let lock = fixture.try_acquire(LockKind::Shared).await.unwrap();
    fixture.faults.inject(fault(Operation::Remove));
    assert!(matches!(
        lock.release().await,
        Err(LockError::Storage {
            action: "remove",
            ..
        })
    ));
}

#[tokio::test(start_paused = true)]
async fn releasing_a_lock_whose_file_is_gone_is_no_error() {
    let fixture = Fixture::new().await;
    let lock = fixture.try_acquire(LockKind::Exclusive).await.unwrap();
    remove(&fixture.repository, lock.id()).await.unwrap();
    lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_lock_is_not_refreshed_any_more() {
    let fixture = Fixture::new().await;
    drop(fixture.try_acquire(LockKind::Exclusive).await.unwrap());
    sleep(29 * MINUTE).await;
    assert!(fixture.try_acquire(LockKind::Shared).await.is_err());
    sleep(2 * MINUTE).await;
    fixture
        .try_acquire(LockKind::Shared)
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watch_sees_at_once_that_others_removed_the_lock_and_survives_refreshes() {
    let fixture = Fixture::new().await;
    let lock = fixture.try_acquire(LockKind::Shared).await.unwrap();
    let watch = lock.watch();
    let first = lock.id();
    sleep(6 * MINUTE).await;
    assert_ne!(lock.id(), first);
    watch.ensure_held().await.unwrap();
    unlock(&fixture.repository, UnlockScope::All).await.unwrap();
    assert!(matches!(watch.ensure_held().await, Err(LockError::Lost)));
    assert!(lock.lost().is_cancelled());
    lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_the_machine_slept_a_watch_waits_for_the_refresh_that_decides() {
    let fixture = Fixture::new().await;
    let lock = fixture.try_acquire(LockKind::Shared).await.unwrap();
    let watch = lock.watch();
    fixture.clock.sleep_machine(120 * MINUTE);
    watch.ensure_held().await.unwrap();
    fixture.clock.sleep_machine(31 * MINUTE);
    remove(&fixture.repository, lock.id()).await.unwrap();
    assert!(matches!(watch.ensure_held().await, Err(LockError::Lost)));
    lock.release().await.unwrap();
    let gone = fixture.try_acquire(LockKind::Shared).await.unwrap();
    let watch = gone.watch();
    drop(gone);
    fixture.clock.sleep_machine(31 * MINUTE);
    assert!(matches!(watch.ensure_held().await, Err(LockError::Lost)));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_cannot_look_says_so_and_the_lock_is_not_lost() {
    let fixture = Fixture::new().await;
    let lock = fixture.try_acquire(LockKind::Shared).await.unwrap();
    let watch = lock.watch();
    fixture.refuse(Operation::Stat);
    let error = watch.ensure_held().await.unwrap_err();
    assert!(
        matches!(error, LockError::Storage { action: "read", .. }),
        "{error}"
    );
    fixture.faults.heal();
    watch.ensure_held().await.unwrap();
    lock.release().await.unwrap();
    assert!(matches!(watch.ensure_held().await, Err(LockError::Lost)));
}
