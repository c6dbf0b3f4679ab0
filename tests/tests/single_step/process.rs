//! A process that is traced instruction by instruction.

use std::{
    fs, io,
    os::unix::process::CommandExt,
    process::{Child, Command},
    ptr,
};

/// The registers by DWARF's numbers, and then the instruction pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Words(pub(crate) [u64; 17]);

impl Words {
    pub(crate) fn pc(&self) -> u64 {
        self.0[16]
    }
}

/// Why the process stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// One instruction was executed.
    Step,
    /// A breakpoint of the program was executed.
    Break,
    /// A signal is to be delivered.
    Signal(libc::c_int),
    Ended,
}

/// One mapping of the process.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) offset: u64,
    pub(crate) path: String,
}

/// The process, stopped.
pub(crate) struct Traced {
    child: Child,
}

const INT3: u64 = 0xcc;

impl Traced {
    /// Starts a program up to its first instruction.
    pub(crate) fn start(program: &str) -> Self {
        let mut command = Command::new(program);
        // SAFETY: between fork and exec a system call is made and nothing else.
        unsafe {
            command.pre_exec(|| {
                let none = ptr::null_mut::<libc::c_void>();
                match libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
        let traced = Self {
            child: command.spawn().unwrap(),
        };
        assert!(matches!(traced.wait(), Some(libc::SIGTRAP)));
        traced
    }

    pub(crate) fn pid(&self) -> libc::pid_t {
        self.child.id().try_into().unwrap()
    }

    fn request(&self, request: libc::c_uint, data: *mut libc::c_void) {
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: the child is stopped, and `data` is a number or points to what the request writes.
        let answer = unsafe { libc::ptrace(request, self.pid(), none, data) };
        assert_eq!(answer, 0, "{}", io::Error::last_os_error());
    }

    /// The signal that the process stopped for, and none where it ended.
    fn wait(&self) -> Option<libc::c_int> {
        let mut status = 0;
        // SAFETY: the call writes one number.
        let waited = unsafe { libc::waitpid(self.pid(), &raw mut status, 0) };
        assert_eq!(waited, self.pid());
        libc::WIFSTOPPED(status).then(|| libc::WSTOPSIG(status))
    }

    /// Executes one instruction, or delivers a signal.
    pub(crate) fn step(&mut self, signal: libc::c_int) -> Stop {
        let is_break = signal == 0
            && self
                .read(self.registers().pc())
                .is_some_and(|word| word[0] & 0xff == INT3);
        self.request(
            libc::PTRACE_SINGLESTEP,
            signal as usize as *mut libc::c_void,
        );
        match self.wait() {
            None => Stop::Ended,
            Some(libc::SIGTRAP) if is_break => Stop::Break,
            Some(libc::SIGTRAP) => Stop::Step,
            Some(signal) => Stop::Signal(signal),
        }
    }

    /// Runs up to a breakpoint of the program or to its end.
    pub(crate) fn run(&mut self, mut signal: libc::c_int) -> Stop {
        loop {
            self.request(libc::PTRACE_CONT, signal as usize as *mut libc::c_void);
            match self.wait() {
                None => return Stop::Ended,
                Some(libc::SIGTRAP) => return Stop::Break,
                Some(number) => signal = number,
            }
        }
    }

    pub(crate) fn registers(&self) -> Words {
        // SAFETY: zero is a value of each of the registers.
        let mut regs: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        self.request(libc::PTRACE_GETREGS, (&raw mut regs).cast());
        Words([
            regs.rax, regs.rdx, regs.rcx, regs.rbx, regs.rsi, regs.rdi, regs.rbp, regs.rsp,
            regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15, regs.rip,
        ])
    }

    /// Two words of its memory.
    pub(crate) fn read(&self, address: u64) -> Option<[u64; 2]> {
        let mut words = [0; 2];
        self.read_into(address, &mut words).then_some(words)
    }

    /// All of a mapping that is in memory alone.
    pub(crate) fn bytes(&self, mapping: &Mapping) -> Vec<u8> {
        let mut words = vec![0_u64; ((mapping.end - mapping.start) / 8) as usize];
        assert!(self.read_into(mapping.start, &mut words));
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn read_into(&self, address: u64, words: &mut [u64]) -> bool {
        let local = libc::iovec {
            iov_base: words.as_mut_ptr().cast(),
            iov_len: size_of_val(words),
        };
        let remote = libc::iovec {
            iov_base: address as *mut libc::c_void,
            iov_len: size_of_val(words),
        };
        // SAFETY: the kernel writes at most the words, and checks the other process's addresses.
        let got = unsafe { libc::process_vm_readv(self.pid(), &local, 1, &remote, 1, 0) };
        usize::try_from(got) == Ok(size_of_val(words))
    }

    /// What it maps, from lines such as `start-end perms offset dev inode path`.
    pub(crate) fn mappings(&self) -> Vec<Mapping> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap();
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let mapping = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (start, end) = words[0].split_once('-').unwrap();
            Mapping {
                start: hex(start),
                end: hex(end),
                offset: hex(words[2]),
                path: words.get(5).copied().unwrap_or_default().to_owned(),
            }
        };
        maps.lines().map(mapping).collect()
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
    }
}
