//! The image of the sandbox container, which holds a pod's namespaces open: one program that waits for ever, made here, so
//! that no registry is asked for it.

use bytes::Bytes;
use wherry_image::tar_of;

/// The image's name in the engine.
pub const IMAGE: &str = "wherry.dev/pause:1";
/// The program's place in the image.
pub const PROGRAM: &str = "/pause";

/// Where Linux maps the program.
const BASE: u64 = 0x40_0000;
const HEADERS_BYTES: u64 = 64 + 56;

/// The program for x86_64: `pause()` (number 34) for ever.
const X86_64: (u16, &[u8]) = (
    62,
    &[
        0xb8, 0x22, 0x00, 0x00, 0x00, // mov eax, 34
        0x0f, 0x05, // syscall
        0xeb, 0xf7, // jmp to the beginning
    ],
);

/// The program for aarch64, which has no `pause`: `ppoll(NULL, 0, NULL, NULL, 0)` (number 73) for ever.
const AARCH64: (u16, &[u8]) = (
    183,
    &[
        0x00, 0x00, 0x80, 0xd2, // mov x0, 0
        0x01, 0x00, 0x80, 0xd2, // mov x1, 0
        0x02, 0x00, 0x80, 0xd2, // mov x2, 0
        0x03, 0x00, 0x80, 0xd2, // mov x3, 0
        0x04, 0x00, 0x80, 0xd2, // mov x4, 0
        0x28, 0x09, 0x80, 0xd2, // mov x8, 73
        0x01, 0x00, 0x00, 0xd4, // svc 0
        0xf9, 0xff, 0xff, 0x17, // b to the beginning
    ],
);

/// The image's one layer, a tar, for this machine.
pub fn layer() -> Bytes {
    let program = if cfg!(target_arch = "aarch64") { AARCH64 } else { X86_64 };
    tar_of(PROGRAM.trim_start_matches('/'), &elf(program)).into()
}

/// A static ELF program: its header, one loadable segment that is the whole file, the code.
fn elf((machine, code): (u16, &[u8])) -> Vec<u8> {
    let size = HEADERS_BYTES + code.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    put(&2_u16.to_le_bytes()); // an executable
    put(&machine.to_le_bytes());
    put(&1_u32.to_le_bytes());
    put(&(BASE + HEADERS_BYTES).to_le_bytes()); // where it begins
    put(&64_u64.to_le_bytes()); // where the program header is
    put(&0_u64.to_le_bytes()); // no section headers
    put(&0_u32.to_le_bytes());
    // The sizes of this header and of a program header, how many of those, and no section headers.
    [64_u16, 56, 1, 64, 0, 0].iter().for_each(|half| put(&half.to_le_bytes()));
    put(&1_u32.to_le_bytes()); // loadable
    put(&5_u32.to_le_bytes()); // readable and executable
    [0, BASE, BASE, size, size, 0x1000].iter().for_each(|word| put(&word.to_le_bytes()));
    put(code);
    file
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_program_waits_until_it_is_killed() {
        let scratch = tempfile::tempdir().unwrap();
        let archive = scratch.path().join("layer.tar");
        std::fs::write(&archive, layer()).unwrap();
        let status = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(scratch.path()).status().unwrap();
        assert!(status.success());
        let program = scratch.path().join("pause");
        assert_eq!(program.metadata().unwrap().permissions().mode() & 0o777, 0o555);
        let mut child = Command::new(&program).spawn().unwrap();
        // It sleeps in the kernel, in no other state.
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
            stat.rsplit(") ").next().unwrap().chars().next().unwrap()
        };
        while state() != 'S' {
            std::thread::yield_now();
        }
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9));
    }

    #[test]
    fn both_machines_have_one() {
        for program in [X86_64, AARCH64] {
            let file = elf(program);
            assert_eq!(file.len() as u64, HEADERS_BYTES + program.1.len() as u64);
            assert_eq!(file[..4], *b"\x7fELF");
            assert_eq!(u16::from_le_bytes([file[18], file[19]]), program.0);
        }
    }
}
