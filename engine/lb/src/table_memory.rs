//! How much memory the conns of all workers take.

use lb_conn::{BYTES_PER_CLAIM, BYTES_PER_CONN};

/// Bytes that the tables of so many workers take, with room for `capacity` conns each. A conn over IPv6 takes 64 more when
/// it opens.
pub fn table_memory(workers: u32, capacity: u32) -> u64 {
    let conns = u64::from(workers) * u64::from(capacity);
    // Several workers tell each other which conns they have.
    let each = match workers {
        1 => BYTES_PER_CONN,
        _ => BYTES_PER_CONN + BYTES_PER_CLAIM,
    };
    conns * each
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_takes_80_bytes_for_each_conn_and_one_of_several_11_more() {
        assert_eq!(table_memory(1, 1_000_000), 80_000_000);
        assert_eq!(table_memory(16, 1_000_000), 16 * 91_000_000);
    }
}
