package visit

import (
	"context"
	"sync"
)

// group is what is done beside the events; all of it ends together.
type group struct {
	mu   sync.Mutex
	stop []context.CancelFunc
	wg   sync.WaitGroup
}

func (g *group) start(do func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	g.mu.Lock()
	g.stop = append(g.stop, cancel)
	g.mu.Unlock()
	g.wg.Go(func() { do(ctx) })
}

func (g *group) wait() {
	g.mu.Lock()
	for _, stop := range g.stop {
		stop()
	}
	g.mu.Unlock()
	g.wg.Wait()
}
