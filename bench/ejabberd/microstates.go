package main

import "megaphone/bench/node"

// Erlang's schedulers do not sleep as soon as they have nothing to do: they spin for a while, and the operating system
// counts that as CPU time. The more often a node is woken, the more of it there is. Microstate accounting tells what a
// node does from what it burns.

// microstates is what all of a node's threads did within a window of time.
type microstates struct {
	Window float64 `json:"window_seconds"`
	Work   float64 `json:"work_seconds"`  // running Erlang code, collecting garbage, in drivers, looking for I/O
	Other  float64 `json:"other_seconds"` // of the schedulers: spinning, and what the runtime does for itself
}

// beginMicrostates begins to account, and tells the node's time in milliseconds.
const beginMicrostates = `erlang:system_flag(microstate_accounting, true),
	erlang:system_flag(microstate_accounting, reset), erlang:monotonic_time(millisecond)`

// endMicrostates tells the time again and what there is in the account, in microseconds, and ends it.
const endMicrostates = `All = erlang:statistics(microstate_accounting), Now = erlang:monotonic_time(millisecond),
	erlang:system_flag(microstate_accounting, false),
	Sum = fun(Types, States) -> erlang:convert_time_unit(lists:sum([maps:get(State, Counters)
		|| #{type := Type, counters := Counters} <- All, Types =:= all orelse lists:member(Type, Types),
		State <- States]), perf_counter, microsecond) end,
	{Now, Sum(all, [emulator, gc, port, aux, check_io]),
		Sum([scheduler, dirty_cpu_scheduler, dirty_io_scheduler], [other])}`

// account begins an account; close ends it.
func account(s *node.Node) (close func() (microstates, error), err error) {
	var began, ended, work, other int64
	if err := s.Eval(beginMicrostates, "%d", &began); err != nil {
		return nil, err
	}
	return func() (microstates, error) {
		err := s.Eval(endMicrostates, "{%d,%d,%d}", &ended, &work, &other)
		return microstates{float64(ended-began) / 1e3, float64(work) / 1e6, float64(other) / 1e6}, err
	}, nil
}
