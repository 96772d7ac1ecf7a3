package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// kernel is a connection to one that takes all messages, or answers each with err.
func kernel(t *testing.T, err error) (conn *nftables.Conn, sent *[]string) {
	t.Helper()
	sent = &[]string{}
	conn, failed := nftables.New(nftables.WithTestDial(func(messages []netlink.Message) ([]netlink.Message, error) {
		for _, m := range messages {
			*sent = append(*sent, describe(t, m)...)
		}
		return nil, err
	}))
	if failed != nil {
		t.Fatal(failed)
	}
	return conn, sent
}

// describe is a message in lines: what it is, and its attributes.
func describe(t *testing.T, m netlink.Message) []string {
	t.Helper()
	name, ok := map[int]string{
		unix.NFNL_MSG_BATCH_BEGIN:                            "begin",
		unix.NFNL_MSG_BATCH_END:                              "end",
		unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE: "new table",
		unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELTABLE: "delete table",
		unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWCHAIN: "new chain",
		unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWRULE:  "new rule",
	}[int(m.Header.Type)]
	if !ok {
		return []string{fmt.Sprintf("message %#x", int(m.Header.Type))}
	}
	if name == "begin" || name == "end" {
		return []string{name}
	}
	const header = 4 // family, version, resource
	return append([]string{fmt.Sprintf("%s of family %d", name, m.Data[0])}, attributes(t, m.Data[header:], "  ")...)
}

// attributes are their numbers and values, nested ones below theirs. Names are text,
// all else is in hexadecimal digits.
func attributes(t *testing.T, data []byte, indent string) (lines []string) {
	t.Helper()
	all, err := netlink.UnmarshalAttributes(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		switch text := strings.TrimSuffix(string(a.Data), "\x00"); {
		case a.Type&netlink.Nested != 0:
			lines = append(lines, fmt.Sprintf("%s%d:", indent, a.Type&^netlink.Nested))
			lines = append(lines, attributes(t, a.Data, indent+"  ")...)
		case len(text) == len(a.Data)-1 && len(text) > 2 && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz_") == "":
			lines = append(lines, fmt.Sprintf("%s%d: %s", indent, a.Type, text))
		default:
			lines = append(lines, fmt.Sprintf("%s%d: %x", indent, a.Type, a.Data))
		}
	}
	return lines
}

// The numbers are those of linux/netfilter/nf_tables.h, and the values as nft writes them.
func TestSet(t *testing.T) {
	t.Parallel()
	conn, sent := kernel(t, nil)
	if err := set(conn, Config{Port: 8000, UID: 1501}); err != nil {
		t.Fatal(err)
	}
	uid := fmt.Sprintf("%x", binary.NativeEndian.AppendUint32(nil, 1501))
	want := `begin
new table of family 2
  1: azwi_proxy
  2: 00000000
delete table of family 2
  1: azwi_proxy
  2: 00000000
new table of family 2
  1: azwi_proxy
  2: 00000000
new chain of family 2
  1: azwi_proxy
  3: output
  4:
    1: 00000003
    2: ffffff92
  5: 00000001
  7: nat
new rule of family 2
  1: azwi_proxy
  2: output
  4:
    1:
      1: meta
      2:
        2: 0000000a
        1: 00000001
    1:
      1: cmp
      2:
        1: 00000001
        2: 00000001
        3:
          1: ` + uid + `
    1:
      1: payload
      2:
        1: 00000001
        2: 00000001
        3: 00000010
        4: 00000004
    1:
      1: cmp
      2:
        1: 00000001
        2: 00000000
        3:
          1: a9fea9fe
    1:
      1: meta
      2:
        2: 00000010
        1: 00000001
    1:
      1: cmp
      2:
        1: 00000001
        2: 00000000
        3:
          1: 06
    1:
      1: payload
      2:
        1: 00000001
        2: 00000002
        3: 00000002
        4: 00000002
    1:
      1: cmp
      2:
        1: 00000001
        2: 00000000
        3:
          1: 0050
    1:
      1: counter
      2:
        1: 0000000000000000
        2: 0000000000000000
    1:
      1: immediate
      2:
        1: 00000001
        2:
          1: 1f40
    1:
      1: redir
      2:
        1: 00000001
end`
	if diff := cmp.Diff(want, strings.Join(*sent, "\n")); diff != "" {
		t.Error(diff)
	}
}

// What is not there is made before it is deleted: that is no error.
func TestUnset(t *testing.T) {
	t.Parallel()
	conn, sent := kernel(t, nil)
	if err := unset(conn); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"begin",
		"new table of family 2", "  1: azwi_proxy", "  2: 00000000",
		"delete table of family 2", "  1: azwi_proxy", "  2: 00000000",
		"end",
	}
	if diff := cmp.Diff(want, *sent); diff != "" {
		t.Error(diff)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for refusal, want := range map[syscall.Errno]error{
		syscall.EPERM:           ErrNotPermitted,
		syscall.EACCES:          ErrNotPermitted,
		syscall.ENOENT:          ErrNotSupported, // a module that is not there
		syscall.EOPNOTSUPP:      ErrNotSupported,
		syscall.EAFNOSUPPORT:    ErrNotSupported,
		syscall.EPROTONOSUPPORT: ErrNotSupported,
		syscall.ENOBUFS:         syscall.ENOBUFS,
	} {
		for attempt, try := range map[string]func(*nftables.Conn) error{
			"set the redirect: ":    func(conn *nftables.Conn) error { return set(conn, Config{Port: 8000, UID: 1501}) },
			"remove the redirect: ": unset,
		} {
			conn, _ := kernel(t, refusal)
			err := try(conn)
			if !errors.Is(err, want) {
				t.Errorf("%v: %v, want %v", refusal, err, want)
			}
			if !errors.Is(err, refusal) {
				t.Errorf("%v: %v hides it", refusal, err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), attempt) {
				t.Errorf("%v: %v, want %q first", refusal, err, attempt)
			}
			for _, other := range []error{ErrNoRoute, ErrNotPermitted, ErrNotSupported} {
				if !errors.Is(want, other) && errors.Is(err, other) {
					t.Errorf("%v: %v is %v too", refusal, err, other)
				}
			}
		}
	}
}
