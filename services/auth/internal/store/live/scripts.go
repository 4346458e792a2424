package live

import "github.com/redis/go-redis/v9"

// Each script is one atomic step. All keys of a device carry its uid as hash tag, so a cluster keeps
// them on one node:
//
//	armlet:rq:REQUEST      hash  v = reservation, e = expiry (µs)                in a slot of its own
//	armlet:ix:NONCE        uid                                                   likewise
//	armlet:ch:{uid}        hash  n = nonce, p = purpose, e = expiry (µs)         the live challenge
//	armlet:ch:{uid}:NONCE  hash  s = state, t = tries, e = expiry, d = digest, c = challenge
//
// Expiry is decided by the time that the caller passes; Redis' own only clears away. Numbers of microseconds are exact in
// Lua's doubles until the year 2255.

// reserveScript: KEYS reservation; ARGV expiry, now, reservation, lifetime in ms. It answers the reservation that was there.
var reserveScript = redis.NewScript(`
local old = redis.call('HMGET', KEYS[1], 'e', 'v')
if old[1] and tonumber(old[1]) > tonumber(ARGV[2]) then return old[2] end
redis.call('HSET', KEYS[1], 'e', ARGV[1], 'v', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return ''`)

// issueScript: KEYS device, challenge; ARGV nonce, purpose, expiry, now, challenge, lifetime in ms.
// The key of the superseded challenge is made here from the device's key: it has the same hash tag.
var issueScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[2]) == 1 then return 'OK' end
local live = redis.call('HMGET', KEYS[1], 'n', 'p', 'e')
if live[1] and tonumber(live[3]) > tonumber(ARGV[4]) then
  local old = KEYS[1] .. ':' .. live[1]
  if redis.call('HGET', old, 's') == 'live' then
    if live[2] ~= ARGV[2] then return 'BUSY' end
    redis.call('HSET', old, 's', 'superseded')
  end
end
redis.call('HSET', KEYS[2], 's', 'live', 't', 0, 'e', ARGV[3], 'c', ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
redis.call('HSET', KEYS[1], 'n', ARGV[1], 'p', ARGV[2], 'e', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 'OK'`)

// missScript: KEYS challenge; ARGV now, most tries.
var missScript = redis.NewScript(`
local c = redis.call('HMGET', KEYS[1], 's', 'e')
if c[1] ~= 'live' or tonumber(c[2]) <= tonumber(ARGV[1]) then return '' end
local tries = redis.call('HINCRBY', KEYS[1], 't', 1)
if tries >= tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], 's', 'spent') end
return ''`)

// takeScript: KEYS challenge; ARGV digest, now.
var takeScript = redis.NewScript(`
local c = redis.call('HMGET', KEYS[1], 's', 'e', 'd')
if not c[1] or tonumber(c[2]) <= tonumber(ARGV[2]) then return 'gone' end
if c[1] == 'live' then
  redis.call('HSET', KEYS[1], 's', 'used', 'd', ARGV[1])
  return 'won'
end
if c[1] == 'used' then
  if c[3] == ARGV[1] then return 'same' end
  return 'other'
end
return c[1]`)
