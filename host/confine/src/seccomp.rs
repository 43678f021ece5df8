//! The filter of system calls: those of `calls` pass, everything else answers `EPERM`.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, Error, SeccompAction, SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads};

use crate::calls;
use crate::confine::ConfineError;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Filters the calling process, for good. Answers whether the kernel can.
pub fn enforce() -> Result<bool, ConfineError> {
    if !available() {
        return Ok(false);
    }
    let filters = filters(std::process::id()).map_err(ConfineError::Seccomp)?;
    filters.iter().try_for_each(|filter| apply_filter_all_threads(filter)).map_err(ConfineError::Seccomp)?;
    Ok(true)
}

/// Whether the kernel has filters, and we a table for this processor.
pub fn available() -> bool {
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads the four bytes of `action`, which outlive the call, and answers whether it knows them.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    answer == 0 && architecture().is_ok()
}

fn architecture() -> Result<TargetArch, Error> {
    TargetArch::try_from(std::env::consts::ARCH).map_err(Error::Backend)
}

/// The programs in the order in which they are to be installed: the second lets no other follow.
///
/// `clone3` keeps its flags in memory, where no filter sees them. `ENOSYS` makes libc fall back to `clone`; of two answers
/// the kernel takes the stricter, so the second program must let it pass.
fn filters(own_pid: u32) -> Result<[BpfProgram; 2], Error> {
    let unseen: Rules = [(libc::SYS_clone3, Vec::new())].into();
    let mut allowed = calls::conditional(own_pid).map_err(Error::Backend)?;
    allowed.extend(calls::ALLOWED.iter().map(|&call| (call, Vec::new())));
    allowed.insert(libc::SYS_clone3, Vec::new());
    Ok([
        compile(unseen, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()))?,
        compile(allowed, SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow)?,
    ])
}

fn compile(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram, Error> {
    let filter = SeccompFilter::new(rules, otherwise, matched, architecture()?).map_err(Error::Backend)?;
    BpfProgram::try_from(filter).map_err(Error::Backend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_stands_in_both_tables() {
        let conditional = calls::conditional(1).unwrap();
        let twice: Vec<_> = calls::ALLOWED.iter().filter(|call| conditional.contains_key(call)).collect();
        assert!(twice.is_empty(), "{twice:?} would pass without their conditions");
    }

    #[test]
    fn compiles() {
        assert!(filters(1).unwrap().iter().all(|program| !program.is_empty()));
    }
}
