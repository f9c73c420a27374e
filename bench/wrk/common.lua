-- Shared by all load scripts: settings from the environment, random accounts, unique keys, the report at the end.
-- wrk runs `setup` and `done` once, and `init`, `request` and `response` in each of its threads.

local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
  thread:set("thread_number", #threads)
end

local function lines(name)
  local found = {}
  for line in io.lines(os.getenv("BENCH_DATA") .. "/" .. name) do
    found[#found + 1] = line
  end
  return found
end

function load_settings()
  run = os.getenv("BENCH_RUN")
  batch = tonumber(os.getenv("BENCH_BATCH") or "0")
  hot = os.getenv("BENCH_HOT") == "1"
  path = os.getenv("BENCH_PATH")
  accounts = lines("accounts.txt")
  tokens = lines("tokens.txt")
  counter = 0
  wrong = 0
  math.randomseed(tonumber(run, 16) * 16 + thread_number)
  local text = os.getenv("BENCH_DESCRIPTION") or ""
  tail = ',"currency":"USD"'
  if text ~= "" then tail = tail .. ',"description":"' .. text .. '"' end
end

-- A key of the shape of a random UUID: a random start (so that keys land anywhere in an index, as real ones do) and
-- a run, thread and counter at the end (so that none is ever used twice).
function next_key()
  counter = counter + 1
  return string.format("%08x-%04x-4%03x-a%03x-%s%06x", math.random(0, 0x7fffffff), math.random(0, 0xffff),
    math.random(0, 0xfff), thread_number, run, counter)
end

-- Payer and payee: two different accounts at random; in the hot variant the first account is always one of them.
function next_pair()
  local count = #accounts
  if hot then
    local other = accounts[math.random(2, count)]
    if math.random(2) == 1 then return accounts[1], other end
    return other, accounts[1]
  end
  local from = math.random(count)
  local to = math.random(count - 1)
  if to >= from then to = to + 1 end
  return accounts[from], accounts[to]
end

function next_token()
  return tokens[math.random(#tokens)]
end

-- Headers that never change, written once; building a request is then two or three joins.
function post_heads(target)
  local heads = {}
  for _, token in ipairs(tokens) do
    heads[token] = "POST " .. target .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\nAuthorization: Bearer " ..
      token .. "\r\nContent-Type: application/json\r\n"
  end
  return heads
end

function report(summary, latency, per_request)
  local rejected = 0
  for _, thread in ipairs(threads) do
    rejected = rejected + (thread:get("wrong") or 0)
  end
  local e = summary.errors
  io.write(string.format(
    'BENCH {"requests":%d,"items":%d,"seconds":%.6f,"mean_ms":%.4f,"p50_ms":%.4f,"p95_ms":%.4f,"p99_ms":%.4f,' ..
    '"max_ms":%.4f,"bytes":%d,"status_errors":%d,"content_errors":%d,"socket_errors":%d,"timeouts":%d}\n',
    summary.requests, summary.requests * per_request, summary.duration / 1e6, latency.mean / 1e3,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    summary.bytes, e.status, rejected, e.connect + e.read + e.write, e.timeout))
end
