-- Posts a different body each time: wrk … URL/path -- BODIES, a file with one JSON body a line.
-- At the end it prints one line of JSON: requests, seconds, requests a second, latencies in microseconds, and how
-- many answers were not 2xx or did not come.

local requests = {}
local next_request = 0
local n_threads = 0

function setup(thread)
    thread:set("thread_number", n_threads)
    n_threads = n_threads + 1
end

function init(args)
    local headers = { ["Content-Type"] = "application/json" }
    for body in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("POST", nil, headers, body)
    end
    -- Each thread starts elsewhere, so that two do not send the same rows in step.
    next_request = thread_number * 997 % #requests
end

function request()
    next_request = next_request % #requests + 1
    return requests[next_request]
end

function done(summary, latency, _)
    local errors = summary.errors
    local seconds = summary.duration / 1e6
    print(string.format(
        '{"requests": %d, "seconds": %.3f, "rps": %.3f, "p50_us": %d, "p99_us": %d, "failed": %d}',
        summary.requests, seconds, summary.requests / seconds, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
