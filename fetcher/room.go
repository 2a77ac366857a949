package fetcher

import "context"

// room is what one fetch holds of the budget. It is exchanged, never added to:
// two fetches that held some and waited for more would wait for each other.
type room struct {
	budget  *Budget
	lane    string
	size    int64
	release func() // nil while nothing is held
}

// take reports whether n bytes are held, or could be had without waiting.
func (r *room) take(n int64) bool {
	if r.release != nil && r.size >= n {
		return true
	}
	r.leave()
	release, ok := r.budget.tryAcquire(r.lane, n)
	if ok {
		r.size, r.release = n, release
	}
	return ok
}

// wait holds n bytes when it returns without an error.
func (r *room) wait(ctx context.Context, n int64) error {
	r.leave()
	release, err := r.budget.Acquire(ctx, r.lane, n)
	if err != nil {
		return err
	}
	r.size, r.release = n, release
	return nil
}

// leave holds nothing any more.
func (r *room) leave() {
	if r.release != nil {
		r.release()
		r.release = nil
	}
}
