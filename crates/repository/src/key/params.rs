//! The cost of scrypt: limits for what a file may demand, and calibration for what we write.

use std::time::{Duration, Instant};

/// Memory a key file may demand, in bytes: 64 times what restic calibrates to.
const MAX_MEMORY_BYTES: u64 = 2 << 30;
/// Work a key file may demand, as memory times passes: some 40 seconds on a common machine.
const MAX_WORK_BYTES: u64 = 16 << 30;

/// What calibration aims for, and the memory it stays within; both are restic's.
const CALIBRATION_TIME: Duration = Duration::from_millis(500);
const CALIBRATION_MEMORY_BYTES: u64 = 60 << 20;
/// On a very fast machine, more passes would only punish the slower one that has to open it.
const CALIBRATION_MAX_PASSES: u32 = 32;

/// Cost parameters of scrypt within this program's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScryptParams {
    log_n: u8,
    r: u32,
    p: u32,
}

/// Why parameters are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScryptParamsError {
    /// The definition of scrypt rules them out.
    #[error(
        "scrypt parameters N={n}, r={r}, p={p} are invalid: N must be a power of two, r and p positive"
    )]
    Invalid {
        /// Cost of memory and time.
        n: u64,
        /// Block size.
        r: u32,
        /// Passes.
        p: u32,
    },
    /// More memory or time than a sane key takes.
    #[error(
        "scrypt parameters N={n}, r={r}, p={p} demand more than 2 GiB of memory or 16 GiB of memory work"
    )]
    Excessive {
        /// Cost of memory and time.
        n: u64,
        /// Block size.
        r: u32,
        /// Passes.
        p: u32,
    },
}

impl ScryptParams {
    /// The cheapest parameters, for tests that open many repositories.
    pub const FAST_FOR_TESTS: Self = Self {
        log_n: 4,
        r: 8,
        p: 1,
    };

    /// Parameters with `N = 2^log_n`, checked against the limits.
    pub fn new(log_n: u8, r: u32, p: u32) -> Result<Self, ScryptParamsError> {
        let n = 1u64.checked_shl(u32::from(log_n)).unwrap_or(0);
        Self::from_file(n, r, p)
    }

    /// Parameters as a key file has them.
    pub(super) fn from_file(n: u64, r: u32, p: u32) -> Result<Self, ScryptParamsError> {
        if !n.is_power_of_two() || n < 2 || r == 0 || p == 0 {
            return Err(ScryptParamsError::Invalid { n, r, p });
        }
        // The work area of a block, 128·r bytes, exists N times and once more per pass.
        let block_bytes = 128 * u64::from(r);
        let memory = n
            .checked_add(u64::from(p))
            .and_then(|blocks| blocks.checked_mul(block_bytes));
        let work = n
            .checked_mul(block_bytes)
            .and_then(|bytes| bytes.checked_mul(u64::from(p)));
        let is_affordable = memory.is_some_and(|bytes| bytes <= MAX_MEMORY_BYTES)
            && work.is_some_and(|bytes| bytes <= MAX_WORK_BYTES);
        let log_n = u8::try_from(n.ilog2()).expect("the logarithm of 64 bits is below 64");
        if !is_affordable || scrypt::Params::new(log_n, r, p).is_err() {
            return Err(ScryptParamsError::Excessive { n, r, p });
        }
        Ok(Self { log_n, r, p })
    }

    /// Measures this machine as restic does: as much memory as fits 60 MiB, then as many passes as
    /// fit half a second. Takes about a quarter of that.
    pub fn calibrate() -> Self {
        let elapsed = |params: Self| {
            let start = Instant::now();
            params.derive(b"a password", &[0x5a; 64], &mut [0; 64]);
            start.elapsed()
        };
        calibrate_with(elapsed)
    }

    /// The logarithm of `N` to base 2.
    pub fn log_n(self) -> u8 {
        self.log_n
    }

    /// The block size.
    pub fn r(self) -> u32 {
        self.r
    }

    /// The number of passes.
    pub fn p(self) -> u32 {
        self.p
    }

    /// Fills `output` with key material.
    pub(super) fn derive(self, password: &[u8], salt: &[u8], output: &mut [u8]) {
        let params =
            scrypt::Params::new(self.log_n, self.r, self.p).expect("checked on construction");
        scrypt::scrypt(password, salt, &params, output).expect("64 bytes is a valid length");
    }
}

/// The rule of calibration over a measuring function.
fn calibrate_with(mut elapsed: impl FnMut(ScryptParams) -> Duration) -> ScryptParams {
    let mut params = ScryptParams {
        log_n: 14,
        r: 8,
        p: 1,
    };
    while (128 * u64::from(params.r)) << (params.log_n + 1) <= CALIBRATION_MEMORY_BYTES {
        params.log_n += 1;
    }
    let one_pass = elapsed(params).max(Duration::from_micros(1));
    let passes = CALIBRATION_TIME.as_micros() / one_pass.as_micros();
    params.p = u32::try_from(passes)
        .unwrap_or(u32::MAX)
        .clamp(1, CALIBRATION_MAX_PASSES);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7914, section 12.
    #[test]
    fn derived_keys_equal_the_vectors_of_the_rfc() {
        let derive = |password: &str, salt: &str, log_n, r, p| {
            let mut output = [0; 64];
            let params = ScryptParams::new(log_n, r, p).unwrap();
            params.derive(password.as_bytes(), salt.as_bytes(), &mut output);
            hex::encode(output)
        };
        assert_eq!(
            derive("", "", 4, 1, 1),
            "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906"
        );
        assert_eq!(
            derive("password", "NaCl", 10, 8, 16),
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
        );
        assert_eq!(
            derive("pleaseletmein", "SodiumChloride", 14, 8, 1),
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
        );
    }

    #[test]
    fn hostile_parameters_are_refused_before_any_work() {
        for (n, r, p) in [
            (0, 8, 1),
            (1, 8, 1),
            (3, 8, 1),
            (1 << 15, 0, 1),
            (1 << 15, 8, 0),
        ] {
            let invalid = ScryptParamsError::Invalid { n, r, p };
            assert_eq!(ScryptParams::from_file(n, r, p), Err(invalid));
        }
        let excessive = [
            (1 << 63, u32::MAX, u32::MAX),
            (1 << 21, 9, 1),
            (1 << 15, 8, 1 << 20),
            (2, 8, u32::MAX),
            (2, u32::MAX, 1),
        ];
        for (n, r, p) in excessive {
            assert_eq!(
                ScryptParams::from_file(n, r, p),
                Err(ScryptParamsError::Excessive { n, r, p })
            );
        }
        assert!(ScryptParams::new(200, 8, 1).is_err());
        // What restic writes by default, and with more memory than its default.
        assert!(ScryptParams::new(15, 8, 8).is_ok() && ScryptParams::new(20, 8, 8).is_ok());
    }

    #[test]
    fn calibration_fills_the_memory_and_then_half_a_second() {
        let at = |milliseconds| calibrate_with(|_| Duration::from_millis(milliseconds));
        assert_eq!(
            at(80),
            ScryptParams {
                log_n: 15,
                r: 8,
                p: 6
            }
        );
        assert_eq!(
            at(2000),
            ScryptParams {
                log_n: 15,
                r: 8,
                p: 1
            }
        );
        assert_eq!(
            at(0),
            ScryptParams {
                log_n: 15,
                r: 8,
                p: 32
            }
        );
    }

    /// Run with `--ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn measure_calibration() {
        let start = Instant::now();
        let params = ScryptParams::calibrate();
        println!("{params:?} after {:?}", start.elapsed());
        let start = Instant::now();
        params.derive(b"a password", &[1; 64], &mut [0; 64]);
        println!("one derivation: {:?}", start.elapsed());
    }
}
