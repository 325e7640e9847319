//! Which instructions the fast stages may use. Wheels are built for plain x86-64, so this is decided at run time.

/// A set of instructions that this machine has. All sets give the same results; each stage has a plain form that
/// says what it means.
///
/// There is no way to make one that the machine lacks: the `unsafe` calls of the stages lean on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instructions(Level);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Level {
    /// Whatever the target has: plain Rust.
    Portable,
    /// x86-64 with AVX2, AES and the bit instructions that came with them.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL, VBMI2) besides: Ice Lake, Zen 4 and newer.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Instructions {
    /// What every machine has.
    pub const PORTABLE: Self = Self(Level::Portable);

    /// All sets that this machine has, the fastest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Level::Portable];
        #[cfg(target_arch = "x86_64")]
        if has_avx2() {
            levels.push(Level::Avx2);
            if has_avx512() {
                levels.push(Level::Avx512);
            }
        }
        levels.into_iter().map(Self).collect()
    }

    /// The fastest set that this machine has.
    #[must_use]
    pub fn fastest() -> Self {
        Self::available().pop().unwrap_or(Self::PORTABLE)
    }

    /// The set of that name (`portable`, `avx2`, `avx512`), where this machine has it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|set| set.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }

    pub(crate) fn level(self) -> Level {
        self.0
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi2")
}
