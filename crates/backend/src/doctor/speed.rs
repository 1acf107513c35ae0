//! How long an answer takes, and how many bytes move in a second.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::time::Instant;

use crate::doctor::network::millis;
use crate::doctor::objects::sample;
use crate::doctor::{Findings, step};
use crate::{Backend, BackendError, FileKind, Handle};

/// Answers asked for to know the usual one.
const ANSWERS: usize = 9;
/// The size of a small pack, so that the numbers are those of a backup.
const OBJECT_BYTES: usize = 4 * 1024 * 1024;

/// Measures latency, upload and download; what was written is removed.
pub(super) async fn measure(backend: &dyn Backend, bytes: usize, findings: &mut Findings<'_>) {
    let waiting = step("latency");
    match latency(backend).await {
        Ok(median) => findings.add(waiting.fine(format!("{} for a small request", millis(median)))),
        Err(error) => {
            findings.add(waiting.refused(&error));
            return;
        }
    }
    let size = bytes.min(OBJECT_BYTES);
    let objects: Vec<(Handle, Bytes)> = (0..bytes.div_ceil(size))
        .map(|_| sample(FileKind::Pack, size))
        .collect();
    let moving = step("upload");
    let start = Instant::now();
    let written = each(backend, &objects, |handle, content| async move {
        backend.write(&handle, content).await
    })
    .await;
    let upload = start.elapsed();
    match written {
        Ok(()) => {
            findings.add(moving.fine(rate(bytes, upload)));
            let moving = step("download");
            let start = Instant::now();
            let read = each(backend, &objects, |handle, _| async move {
                backend.read(&handle).await.map(drop)
            })
            .await;
            findings.add(match read {
                Ok(()) => moving.fine(rate(bytes, start.elapsed())),
                Err(error) => moving.refused(&error),
            });
        }
        Err(error) => findings.add(moving.refused(&error)),
    }
    let handles: Vec<Handle> = objects.into_iter().map(|(handle, _)| handle).collect();
    if let Some((_, error)) = backend.remove_many(&handles).await.first() {
        findings.add(step("remove").refused(error));
    }
}

async fn latency(backend: &dyn Backend) -> Result<Duration, BackendError> {
    let (absent, _) = sample(FileKind::Pack, 32);
    let mut times = Vec::with_capacity(ANSWERS);
    for _ in 0..ANSWERS {
        let start = Instant::now();
        match backend.stat(&absent).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => times.push(start.elapsed()),
        }
    }
    times.sort_unstable();
    Ok(times[ANSWERS / 2])
}

/// All of it, also after a failure, the first of which is told: what is under way cannot be removed.
async fn each<F: Future<Output = Result<(), BackendError>> + Send>(
    backend: &dyn Backend,
    objects: &[(Handle, Bytes)],
    work: impl Fn(Handle, Bytes) -> F,
) -> Result<(), BackendError> {
    let mut results = futures::stream::iter(objects.to_vec())
        .map(|(handle, content)| work(handle, content))
        .buffer_unordered(backend.connections().max(1));
    let mut all = Ok(());
    while let Some(result) = results.next().await {
        all = all.and(result);
    }
    all
}

fn rate(bytes: usize, time: Duration) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let mebibytes = bytes as f64 / 1_048_576.0;
    format!(
        "{:.1} MiB/s ({mebibytes:.0} MiB in {:.1} s)",
        mebibytes / time.as_secs_f64(),
        time.as_secs_f64()
    )
}
