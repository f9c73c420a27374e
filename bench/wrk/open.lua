-- POST /accounts: one account a request, a key of its own in the header.

dofile(os.getenv("BENCH_SCRIPTS") .. "/common.lua")

function init()
  load_settings()
  heads = post_heads(path)
  body = '{"type":"checking","currency":"USD"}'
end

function request()
  return heads[next_token()] .. "Idempotency-Key: " .. next_key() .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

function done(summary, latency)
  report(summary, latency, 1)
end
