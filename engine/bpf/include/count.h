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

#endif
