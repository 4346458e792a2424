package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// Ports for servers that are started later are taken from below the range that systems give to outgoing connections and to
// port 0. A port of that range that was free a moment ago may be anybody's when its server starts at last, and PostgreSQL
// alone takes seconds to be made. Between test processes a file lock keeps each port one process's own until that ends.
const (
	firstPort  = 10000
	lastPort   = 32000 // Linux begins at 32768, others at 49152
	blockPorts = 100
)

// taken holds the locks: a file that is collected would be closed, and with it the lock lost.
var taken struct {
	sync.Mutex
	locks []*os.File
}

// Addr is a free address on 127.0.0.1 that no other test is given while this test process lives.
func Addr(t testing.TB) string {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatalf("testkit: %v", err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// PortBlock is the first of 100 free ports in a row on 127.0.0.1, of which the same holds as of [Addr].
func PortBlock(t testing.TB) int {
	t.Helper()
	port, err := reserve(blockPorts)
	if err != nil {
		t.Fatalf("testkit: %v", err)
	}
	return port
}

func freePort() (int, error) { return reserve(1) }

// reserve finds count free ports in a row. A block and a single port share the lock of the hundred they are in only when
// they are of one process, so blocks and singles live in different halves of the range.
func reserve(count int) (int, error) {
	taken.Lock()
	defer taken.Unlock()
	const middle = (firstPort + lastPort) / 2 / blockPorts * blockPorts
	low, high := middle, lastPort
	if count > 1 {
		low, high = firstPort, middle
	}
	dir := filepath.Join(os.TempDir(), "armlet-testkit-ports")
	// It is shared by whoever runs tests on this machine, whatever the umask is.
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return 0, err
	}
	_ = os.Chmod(dir, 0o1777)
	for range 1000 {
		port := low + rand.IntN((high-low)/count)*count
		lock, ok := lockPort(dir, port)
		if !ok {
			continue
		}
		if bindable(port, count) {
			taken.locks = append(taken.locks, lock)
			return port, nil
		}
		_ = lock.Close()
	}
	return 0, fmt.Errorf("no %d free ports in a row between %d and %d", count, low, high)
}

func lockPort(dir string, port int) (*os.File, bool) {
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, false
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, false
	}
	return f, true
}

func bindable(first, count int) bool {
	for port := first; port < first+count; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}
