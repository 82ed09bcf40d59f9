//! What kind of memory the kernel has given us.

use std::fs;

/// How much of this process's memory is in huge pages, in KiB; `None` where the kernel does not tell.
pub fn in_huge_pages() -> Option<u64> {
    huge_pages_of(&fs::read_to_string("/proc/self/smaps_rollup").ok()?)
}

/// Of proc_pid_smaps(5): the transparent ones.
fn huge_pages_of(rollup: &str) -> Option<u64> {
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("AnonHugePages:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let rollup = "Rss: 9 kB\nAnonHugePages:    167936 kB\nShmemPmdMapped: 0 kB\n";
        assert_eq!(huge_pages_of(rollup), Some(167_936));
        assert_eq!(huge_pages_of("Rss: 9 kB\n"), None);
    }
}
