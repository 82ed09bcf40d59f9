/* SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0 */
/* What the counting program and its loader agree on. */
#ifndef LBD_COUNT_H
#define LBD_COUNT_H

/* The entries of `arrivals`, one value for each CPU. */
enum arrival {
	ARRIVAL_EXPECTED,
	ARRIVAL_STRAY,
	ARRIVALS,
};

/*
 * The entries of `latencies`, one value for each CPU: how many packets took so many nanoseconds. Every power of two is
 * divided into STEPS, so that an entry is some 6 % wide; below STEPS there is one for each nanosecond.
 */
#define STEP_BITS 4
#define STEPS (1 << STEP_BITS)
#define HIGHEST_BIT 32
#define LATENCIES ((HIGHEST_BIT - STEP_BITS + 2) * STEPS)

#endif
