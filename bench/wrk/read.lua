-- GET: `{account}` in the path is replaced by a random account.

dofile(os.getenv("BENCH_SCRIPTS") .. "/common.lua")

function init()
  load_settings()
  before, after = path:match("^(.-){account}(.*)$")
end

function request()
  local target = path
  if before then target = before .. accounts[math.random(#accounts)] .. after end
  return "GET " .. target .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\nAuthorization: Bearer " ..
    next_token() .. "\r\n\r\n"
end

function done(summary, latency)
  report(summary, latency, 1)
end
