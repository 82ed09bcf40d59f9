/* SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0 */
/* What the decapsulating program and its loader agree on. */
#ifndef LBD_DECAP_H
#define LBD_DECAP_H

/* The entries of `counters`, one value for each CPU; src/agent/tunnel.rs says what they mean. */
enum counter {
	COUNTER_DECAPSULATED,
	COUNTER_UNTRUSTED,
	COUNTER_OTHER_DESTINATION,
	COUNTER_FRAGMENT,
	COUNTER_UNSUPPORTED,
	COUNTER_CONGESTED,
	COUNTER_FAILED,
	COUNTERS,
};

/* Ports on which GUE is expected. */
#define MAX_GUE_PORTS 16

#endif
