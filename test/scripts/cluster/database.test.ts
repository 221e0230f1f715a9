import { describe, expect, test } from 'vitest'
import { connectionFromHere } from '../../../scripts/cluster/database.ts'

const URL_IN_POD = 'postgres://order:secret@postgres.shop:5432/order?sslmode=verify-full&sslrootcert=/etc/fairlead/database/ca.crt'

describe('connectionFromHere()', () => {
  test('takes the authority from the Secret instead of a file, and looks for the name of the URL in the certificate', () => {
    expect(connectionFromHere(URL_IN_POD, 'PEM', '127.0.0.1:1234')).toEqual({
      connectionString: 'postgres://order:secret@127.0.0.1:1234/order',
      ssl: { ca: 'PEM', servername: 'postgres.shop' },
    })
    expect(connectionFromHere(URL_IN_POD, 'PEM').connectionString).toBe('postgres://order:secret@postgres.shop:5432/order')
  })

  test.each(['postgres://a:b@db.example.org/a?sslmode=verify-full', 'postgres://a:b@db.example.org/a'])('leaves %s as it is', url => {
    expect(connectionFromHere(url)).toEqual({ connectionString: url })
    expect(connectionFromHere(url, 'PEM')).toEqual({ connectionString: url })
  })
})
