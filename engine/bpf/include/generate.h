/* SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0 */
/* What the generating program and its loader agree on. */
#ifndef LBD_GENERATE_H
#define LBD_GENERATE_H

/* Words of 8 bytes that hold Ethernet, IPv4 and UDP headers: 42 bytes. */
#define TEMPLATE_WORDS 6

/* A client's ports, before the next address is taken. */
#define FIRST_PORT 1024
#define PORTS_PER_CLIENT 50000

#endif
