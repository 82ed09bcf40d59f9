// SPDX-License-Identifier: GPL-2.0-only OR MIT OR Apache-2.0
/*
 * Generate: UDP packets of many flows at the highest rate a CPU can make them, or at a steady one, for benches.
 *
 * The loader runs this program on "live frames": the kernel recycles a few pages as frames and sends each where the
 * program redirects it. Whoever received a page before may have written to it, so the headers are written anew every
 * time, from a template whose source has zeros for what tells the flows apart, and whose checksums are right for that:
 * the rest of the source then only has to be added to them.
 */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "generate.h"

const volatile __u32 egress; /* the interface that the packets leave on */
const volatile __u32 flows = 1;
const volatile __u32 first_client; /* the last 32 bits of its address; host order */
const volatile __u32 interval_ns; /* between two packets; 0: none at all */
const volatile __u64 template[TEMPLATE_WORDS];
const volatile __u32 words = TEMPLATE_WORDS; /* of these, so many are used */

/* Where things are in the packet. */
const volatile __u32 client_at; /* the last 32 bits of the source address */
const volatile __u32 ip_check_at; /* NOWHERE in IPv6 */
const volatile __u32 port_at;
const volatile __u32 udp_check_at;
const volatile __u32 stamp_at; /* the time of sending; NOWHERE if it is not wanted */

__u64 next; /* when the next packet is due; one CPU generates */

/* RFC 1624: the checksum of what `checksum` covers, with the words summed in `added` in place of zeros. */
static __always_inline __u16 with(__u16 checksum, __u32 added)
{
	__u32 sum = (__u16)~checksum + added;

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

static __always_inline __u32 sum_of(__u32 value)
{
	return (value & 0xffff) + (value >> 16);
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 flow, added;
	__be32 client;
	__be16 port;
	__u16 *check;

	if (data + words * sizeof(__u64) > end)
		return XDP_ABORTED;

	if (interval_ns) {
		__u64 now = bpf_ktime_get_ns();

		if (now < next)
			return XDP_DROP; /* the page comes back with the next call */
		/* What could not be sent in time is not made up for. */
		next = (now - next < interval_ns ? next : now) + interval_ns;
	}

	for (int i = 0; i < TEMPLATE_WORDS; i++)
		if (i < words)
			((__u64 *)data)[i] = template[i];

	flow = ((__u64)bpf_get_prandom_u32() * flows) >> 32;
	client = bpf_htonl(first_client + flow / PORTS_PER_CLIENT);
	port = bpf_htons(FIRST_PORT + flow % PORTS_PER_CLIENT);
	*(__be32 *)(data + client_at) = client;
	*(__be16 *)(data + port_at) = port;
	added = sum_of(client);
	if (ip_check_at != NOWHERE) {
		check = data + ip_check_at;
		*check = with(*check, added);
	}
	added += port;
	if (stamp_at != NOWHERE) {
		__u64 now = bpf_ktime_get_ns();

		*(__u64 *)(data + stamp_at) = now;
		added += sum_of(now) + sum_of(now >> 32);
	}
	check = data + udp_check_at;
	*check = with(*check, added);
	if (!*check)
		*check = 0xffff; /* RFC 768: zero would mean that there is none */

	return bpf_redirect(egress, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
