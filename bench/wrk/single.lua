-- POST /transfers: one transfer a request, a key of its own in the header.

dofile(os.getenv("BENCH_SCRIPTS") .. "/common.lua")

function init()
  load_settings()
  heads = post_heads(path)
end

function request()
  local from, to = next_pair()
  local body = '{"from_account_id":"' .. from .. '","to_account_id":"' .. to .. '","amount":' .. math.random(1000) ..
    tail .. "}"
  return heads[next_token()] .. "Idempotency-Key: " .. next_key() .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

function done(summary, latency)
  report(summary, latency, 1)
end
