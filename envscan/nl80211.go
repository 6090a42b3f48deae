package envscan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// radio asks the kernel's wireless subsystem: a family of generic netlink
// (linux/nl80211.h).
type radio interface {
	// dump is the attributes of each message that answers a command.
	dump(command uint8, attrs ...*nl.RtAttr) ([]attributes, error)
	// scan has an interface listen on all its channels, and waits for the end.
	scan(ctx context.Context, ifindex uint32) error
}

// nl80211 is the running kernel's. Asking for a family that is not there makes
// the kernel load its module: ask only where /sys shows a radio.
type nl80211 struct{ family *netlink.GenlFamily }

func openRadio() (radio, error) {
	f, err := netlink.GenlFamilyGet(unix.NL80211_GENL_NAME)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", unix.NL80211_GENL_NAME, err)
	}
	return nl80211{f}, nil
}

func (n nl80211) request(flags int, command uint8, attrs []*nl.RtAttr) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(int(n.family.ID), flags)
	req.AddData(&nl.Genlmsg{Command: command})
	for _, a := range attrs {
		req.AddData(a)
	}
	return req
}

func (n nl80211) dump(command uint8, attrs ...*nl.RtAttr) ([]attributes, error) {
	msgs, err := retry(func() ([][]byte, error) {
		return n.request(unix.NLM_F_DUMP, command, attrs).Execute(unix.NETLINK_GENERIC, 0)
	})
	if err != nil {
		return nil, err
	}
	var list []attributes
	for _, m := range msgs {
		a, err := message(m, nl.SizeofGenlmsg)
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, nil
}

// scan names no network, so that the card only listens and sends nothing.
func (n nl80211) scan(ctx context.Context, ifindex uint32) error {
	events, err := n.subscribe("scan")
	if err != nil {
		return err
	}
	defer unix.Close(events)
	req := n.request(unix.NLM_F_ACK, unix.NL80211_CMD_TRIGGER_SCAN, []*nl.RtAttr{ifindexAttr(ifindex)})
	// EBUSY: somebody else's scan is running, whose results are as good.
	if _, err := req.Execute(unix.NETLINK_GENERIC, 0); err != nil && !errors.Is(err, unix.EBUSY) {
		return err
	}
	buf := make([]byte, 1<<16)
	for ctx.Err() == nil {
		size, err := unix.Read(events, buf)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) {
			continue
		} else if err != nil {
			return fmt.Errorf("wait for the end of the scan: %w", err)
		}
		if done, err := scanEnded(buf[:size], ifindex); done || err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// subscribe is a socket that receives a group's messages; reading from it takes
// at most a moment.
func (n nl80211) subscribe(group string) (int, error) {
	for _, g := range n.family.Groups {
		if g.Name != group {
			continue
		}
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
		if err != nil {
			return -1, fmt.Errorf("open netlink: %w", err)
		}
		moment := unix.NsecToTimeval(int64(50 * time.Millisecond))
		err = errors.Join(
			unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}),
			unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, int(g.ID)),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &moment))
		if err != nil {
			return -1, errors.Join(fmt.Errorf("listen to %s: %w", group, err), unix.Close(fd))
		}
		return fd, nil
	}
	return -1, fmt.Errorf("listen to %s: the kernel has no such group", group)
}

// scanEnded looks for the end of an interface's scan among messages.
func scanEnded(b []byte, ifindex uint32) (bool, error) {
	const header = unix.SizeofNlMsghdr
	for len(b) >= header+nl.SizeofGenlmsg {
		size := int(binary.NativeEndian.Uint32(b))
		if size < header+nl.SizeofGenlmsg || size > len(b) {
			return false, errShort
		}
		a, err := message(b[header:size], nl.SizeofGenlmsg)
		if err != nil {
			return false, err
		}
		if uint32(a.number(unix.NL80211_ATTR_IFINDEX)) == ifindex {
			switch b[header] {
			case unix.NL80211_CMD_NEW_SCAN_RESULTS:
				return true, nil
			case unix.NL80211_CMD_SCAN_ABORTED:
				return true, errors.New("the scan was aborted")
			}
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return false, nil
}

func ifindexAttr(ifindex uint32) *nl.RtAttr {
	return nl.NewRtAttr(unix.NL80211_ATTR_IFINDEX, nl.Uint32Attr(ifindex))
}
