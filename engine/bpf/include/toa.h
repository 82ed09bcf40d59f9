/* SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0 */
/* What the TOA programs and their loader agree on. */
#ifndef LBD_TOA_H
#define LBD_TOA_H

/* The entries of `counters`, one value for each CPU; src/agent/toa.rs says what they mean. */
enum counter {
	COUNTER_RESTORED,
	COUNTER_WITHOUT,
	COUNTER_UNTRUSTED,
	COUNTER_FAILED,
	COUNTERS,
};

#endif
