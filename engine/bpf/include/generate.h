/* SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0 */
/* What the generating program and its loader agree on. */
#ifndef LBD_GENERATE_H
#define LBD_GENERATE_H

/* Words of 8 bytes that hold Ethernet, IPv6 and UDP headers and a time stamp: 70 bytes. Over IPv4 it takes fewer. */
#define TEMPLATE_WORDS 9

/* A client's ports, before the next address is taken. */
#define FIRST_PORT 1024
#define PORTS_PER_CLIENT 50000

/* The place of something that a packet does not have. */
#define NOWHERE 0

#endif
