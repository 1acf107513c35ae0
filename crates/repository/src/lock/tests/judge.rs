//! Locks whose holders somebody can prove to be gone.

use super::*;

/// Knows of one holder that it is gone, after having said no a few times.
#[derive(Debug)]
struct KnowsOfOne {
    gone: &'static str,
    asked: AtomicU64,
    says_no: u64,
}

impl KnowsOfOne {
    fn new(gone: &'static str, says_no: u64) -> Arc<Self> {
        Arc::new(Self {
            gone,
            asked: AtomicU64::new(0),
            says_no,
        })
    }
}

#[async_trait::async_trait]
impl Judge for KnowsOfOne {
    async fn is_gone(&self, hostname: &str) -> bool {
        let earlier = self.asked.fetch_add(1, Ordering::Relaxed);
        hostname == self.gone && earlier >= self.says_no
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_whose_holder_is_proved_gone_is_removed_at_once() {
    let fixture = Fixture::new().await;
    fixture.plant(true, Duration::ZERO).await;
    let judge = KnowsOfOne::new("elsewhere", 0);
    let lock = fixture
        .acquire_judging(LockKind::Exclusive, Duration::ZERO, Some(judge))
        .await
        .unwrap();
    assert_eq!(fixture.lock_files(), 1);
    lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_whose_holder_is_not_proved_gone_is_respected() {
    let fixture = Fixture::new().await;
    let planted = fixture.plant(true, Duration::ZERO).await;
    let judge = KnowsOfOne::new("another", 0);
    let asked: Arc<dyn Judge> = Arc::<KnowsOfOne>::clone(&judge);
    let refused = fixture
        .acquire_judging(LockKind::Shared, Duration::ZERO, Some(asked))
        .await;
    assert!(matches!(refused, Err(LockError::Locked { lock, .. }) if lock == planted));
    assert_eq!(judge.asked.load(Ordering::Relaxed), 1);
    assert_eq!(fixture.lock_files(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_goes_while_we_wait_is_noticed_at_the_next_attempt() {
    let fixture = Fixture::new().await;
    fixture.plant(true, Duration::ZERO).await;
    let judge = KnowsOfOne::new("elsewhere", 1);
    let started = Instant::now();
    let lock = fixture
        .acquire_judging(LockKind::Shared, 10 * MINUTE, Some(judge))
        .await
        .unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_in_nobodys_way_is_not_judged() {
    let fixture = Fixture::new().await;
    fixture.plant(false, Duration::ZERO).await;
    let judge = KnowsOfOne::new("elsewhere", 0);
    let asked: Arc<dyn Judge> = Arc::<KnowsOfOne>::clone(&judge);
    let lock = fixture
        .acquire_judging(LockKind::Shared, Duration::ZERO, Some(asked))
        .await
        .unwrap();
    assert_eq!(judge.asked.load(Ordering::Relaxed), 0);
    assert_eq!(fixture.lock_files(), 2);
    lock.release().await.unwrap();
}
