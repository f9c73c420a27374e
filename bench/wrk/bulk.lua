-- POST /transfers/batches: many transfers a request, a key of its own in each. An answer counts as right only if it
-- says that nothing was rejected.

dofile(os.getenv("BENCH_SCRIPTS") .. "/common.lua")

function init()
  load_settings()
  heads = post_heads(path)
  parts = {}
end

function request()
  for index = 1, batch do
    local from, to = next_pair()
    parts[index] = '{"from_account_id":"' .. from .. '","to_account_id":"' .. to .. '","amount":' .. math.random(1000) ..
      tail .. ',"idempotency_key":"' .. next_key() .. '"}'
  end
  local body = '{"transfers":[' .. table.concat(parts, ",", 1, batch) .. "]}"
  return heads[next_token()] .. "Idempotency-Key: " .. next_key() .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

function response(status, headers, body)
  if status == 201 and not string.find(body, '"rejected":%s*0[,}]') then
    wrong = wrong + 1
  end
end

function done(summary, latency)
  report(summary, latency, tonumber(os.getenv("BENCH_BATCH")))
end
