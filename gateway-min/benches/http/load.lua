-- What wrk sends, and the line it prints at the end. Arguments:
--   get PATH                                    the same GET over and over
--   gateway|haproxy distinct|same|forged FILE   messages of FILE, each once, or the first
--                                               over and over, or each with a signature
--                                               that does not hold
-- The token is our request's body, and HAProxy's bearer token. The line:
--   answers, those that were not 2xx or 3xx, socket errors, then microseconds: median,
--   99th percentile, largest; then seconds.

local next_token

local function forged(token)
    -- The first character of the signature: R is another point, and the work the same.
    local head, first, rest = token:match("^(.*%.)(.)([^.]*)$")
    return head .. (first == "A" and "B" or "A") .. rest
end

local function request_of(server, token)
    if server == "haproxy" then
        return "POST /do HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nAuthorization: Bearer "
            .. token .. "\r\n\r\n"
    end
    return "POST /do HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jose\r\nContent-Length: "
        .. #token .. "\r\n\r\n" .. token
end

function init(args)
    local server, how, file = args[1], args[2], args[3]
    if server == "get" then
        local request = "GET " .. how .. " HTTP/1.1\r\nHost: localhost\r\n\r\n"
        next_token = function() return request end
        return
    end
    local lines = assert(io.lines(file))
    if how == "same" then
        local request = request_of(server, lines())
        next_token = function() return request end
        return
    end
    next_token = function()
        local token = lines()
        if not token then
            io.stderr:write("the messages in " .. file .. " did not suffice\n")
            os.exit(1)
        end
        return request_of(server, how == "forged" and forged(token) or token)
    end
end

function request()
    return next_token()
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format("result %d %d %d %.0f %.0f %.0f %.3f\n",
        summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99), latency.max, summary.duration / 1e6))
end
